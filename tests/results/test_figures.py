from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import Store
from seqsuite.results import figures
from seqsuite.results.table import collect

Record = Callable[..., str]

LOSSES = {step: 1.5 - step / 200 for step in range(10, 101, 10)}


@pytest.mark.parametrize(("task", "metric"), [("dna", "bits_per_base"), ("selective_copying", "accuracy")])
def test_a_learning_curve_is_drawn(
    store: Store, record: Record, tmp_path: Path, task: str, metric: str
) -> None:
    run_id = record("mamba", 1.9, task=task, metric=metric, losses=LOSSES)
    path = figures.loss_curve(store, run_id, tmp_path / "new folder")
    assert path == tmp_path / "new folder" / "loss_curve.png"
    picture = imread(path)
    assert picture.shape[1] > 900
    assert picture[..., :3].std() > 0.05


def test_a_run_that_diverged_is_drawn(store: Store, record: Record, tmp_path: Path) -> None:
    losses = LOSSES | {60: float("nan"), 70: float("inf")}
    run_id = record("mamba", None, status="FAILED", losses=losses)
    assert figures.loss_curve(store, run_id, tmp_path).exists()


def test_a_run_without_a_loss_says_so(store: Store, record: Record, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training loss yet"):
        figures.loss_curve(store, record("mamba", None, status="KILLED"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_models_are_compared_with_their_spread(store: Store, record: Record, tmp_path: Path) -> None:
    for seed, value in enumerate((1.90, 1.92)):
        record("mamba", value, seed=seed, options={"train.learning_rate": 1e-3}, losses=LOSSES)
    record("mamba", 1.8, options={"train.learning_rate": 2e-3})
    record("s4", float("nan"))
    record("s4", 44.0, task="selective_copying", metric="accuracy")
    path = figures.compare(store, collect(store), tmp_path)
    assert path == tmp_path / "compare.png"
    assert imread(path)[..., :3].std() > 0.05


def test_a_folder_that_cannot_be_written_is_reported(store: Store, record: Record, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run_id = record("mamba", 1.9, losses=LOSSES)
    with pytest.raises(UserError, match="cannot be written"):
        figures.loss_curve(store, run_id, tmp_path / "file" / "folder")

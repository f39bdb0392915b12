"""A cell's life: trained, skipped, interrupted and resumed exactly, diverged."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seqsuite.experiments.cell import CellResult, run_cell, work_folder
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import RunHeader
from seqsuite.experiments.tracking.store import Store, open_store


class Watcher:
    """Counts steps, and asks to stop after a given one."""

    def __init__(self, flag: InterruptionFlag, stop_after: int | None = None) -> None:
        self.flag, self.stop_after, self.steps = flag, stop_after, []

    def stepped(self, step: int, loss: float, tokens_per_second: float) -> None:
        self.steps.append(step)
        self.flag.requested = self.flag.requested or step == self.stop_after

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        assert set(metrics) == {"loss", "bits_per_token", "accuracy"}


@pytest.fixture
def store(shared_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(shared_folder)
    return open_store(request.node.name)


def cell(tmp_path: Path, **settings: str) -> CellConfig:
    quick = {
        "task": "selective_copying",
        "scale": "smoke",
        "train.steps": "8",
        "train.eval_every": "3",
        "task.eval_examples": "16",
        "run.output": str(tmp_path / "runs"),
    }
    return resolve({**quick, **settings})


def run(
    config: CellConfig, store: Store, stop_after: int | None = None, force: bool = False
) -> tuple[CellResult, list[int]]:
    flag = InterruptionFlag()
    watcher = Watcher(flag, stop_after)

    def observe(_: CellConfig, start: int) -> AbstractContextManager[Watcher]:
        return nullcontext(watcher)

    return run_cell(config, store, observe, flag, force=force), watcher.steps


def weights(store: Store, result: CellResult, folder: Path) -> dict[str, torch.Tensor]:
    return load_file(store.model_folder(result.run_id, folder) / "model.safetensors")


def test_a_finished_cell_has_all_it_is_compared_by(store: Store, tmp_path: Path) -> None:
    result, steps = run(cell(tmp_path), store)
    recorded = store.get(result.run_id)
    assert (result.outcome, recorded.status, steps) == ("finished", "FINISHED", list(range(1, 9)))
    assert {"test/accuracy", "best/accuracy", "baseline/accuracy", "model/parameters"} <= set(
        recorded.metrics
    )
    assert {"train/loss", "train/tokens_per_second", "validation/accuracy"} <= set(recorded.metrics)
    assert recorded.params["train.steps"] == "8"
    assert recorded.params["model.mixer.d_state"] == "16"
    assert recorded.tags[schema.TAG_TASK] == "selective_copying"
    history = store.client.get_metric_history(result.run_id, "validation/loss")
    assert [point.step for point in history] == [3, 6, 8]
    assert {path.path for path in store.client.list_artifacts(result.run_id, "last")} == {
        "last/config.json",
        "last/model.safetensors",
        "last/training.pt",
    }
    assert not work_folder(result.config).exists()


def test_the_same_cell_gives_the_same_weights_and_another_seed_others(store: Store, tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), store)
    again, steps = run(cell(tmp_path), store, force=True)
    other, _ = run(cell(tmp_path, seed="1"), store)
    ours, same, different = (
        weights(store, result, tmp_path / str(index)) for index, result in enumerate((first, again, other))
    )
    assert len(steps) == 8
    assert again.run_id != first.run_id
    for name, value in ours.items():
        assert torch.equal(value, same[name]), name
    assert any(not torch.equal(value, different[name]) for name, value in ours.items())


def test_a_finished_cell_is_skipped(store: Store, tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), store)
    again, steps = run(cell(tmp_path), store)
    assert (again.outcome, again.run_id, steps) == ("skipped", first.run_id, [])


def test_a_cell_that_another_process_runs_is_left_alone(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)
    run_id = store.start_cell(RunHeader(config.cell_id, config.group_id, "x", params={}, tags={}))
    result, steps = run(config, store)
    store.finish(run_id, "KILLED")
    assert (result.outcome, steps) == ("busy", [])


@pytest.mark.parametrize("stop_after", [2, 3, 7, 8])
@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_an_interrupted_cell_resumes_exactly(
    store: Store, tmp_path: Path, stop_after: int, model: str
) -> None:
    config = cell(tmp_path, model=model)
    uninterrupted, _ = run(config, store)
    with pytest.raises(Interrupted):
        run(config, store, stop_after=stop_after, force=True)
    killed = store.find_cell(config.cell_id)
    assert killed is not None
    assert killed.status == "KILLED"
    assert (work_folder(config) / "last").is_dir()

    resumed, steps = run(config, store)
    assert (resumed.outcome, resumed.run_id) == ("finished", killed.run_id)
    assert steps == list(range(stop_after + 1, 9))
    expected = weights(store, uninterrupted, tmp_path / "a")
    for name, value in weights(store, resumed, tmp_path / "b").items():
        assert torch.equal(value, expected[name]), name
    before, after = store.get(uninterrupted.run_id).metrics, store.get(resumed.run_id).metrics
    assert after["test/accuracy"] == before["test/accuracy"]


def test_divergence_stops_the_cell_with_step_and_parameter(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path, **{"train.learning_rate": "1e30", "train.clip": None, "train.warmup": "0"})
    result, _ = run(config, store)
    assert result.outcome == "diverged"
    assert "is not finite at step 2" in result.message
    assert store.get(result.run_id).status == "FAILED"
    assert not work_folder(config).exists()

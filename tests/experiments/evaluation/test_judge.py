"""Speech from data to scores: a classifier is trained, and judges what a model generates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seqsuite as suite
from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.evaluation.judge import Judge, open_judge
from seqsuite.experiments.evaluation.sample_scores import am_score, inception_score
from seqsuite.experiments.tracking.store import open_store
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.models.build import build_shaped
from seqsuite.models.sequence_model import SequenceClassifier
from seqsuite.tasks.base import JudgeTask, Split
from seqsuite.tasks.sc09 import SC09

from ...spoken import write_digits

QUICK = ("scale=smoke", "task.sample_rate=2000", "model.n_layer=1", "run.experiment=speech")


@pytest.fixture
def train(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CellResult]:
    monkeypatch.chdir(shared_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_folder / "cache"))

    def run(*settings: str) -> CellResult:
        (result,) = suite.run(*QUICK, *settings)
        return result

    return run


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return write_digits(tmp_path / "sc09")


def test_generated_speech_is_scored_by_a_classifier_of_the_suite(
    train: Callable[..., CellResult], digits: Path
) -> None:
    path = f"task.path={digits}"
    quick = ("train.steps=80", "model=s4", "model.d_model=32", "run.name=judge")
    judge = train("task=sc09_classifier", path, *quick)
    assert judge.metrics["test/accuracy"] > 50, judge.message  # ten tones are easily told apart
    quick = ("task=sc09", "train.steps=2", "train.eval_every=2", "model.d_model=16")
    made = train(*quick, path, "task.classifier=judge", "task.samples=6")
    assert made.outcome == "finished", made.message
    scores = {name[7:]: value for name, value in made.metrics.items() if name.startswith("sample/")}
    names = ("fid", "inception_score", "modified_inception_score", "am_score")
    assert set(scores) == {prefix + name for prefix in ("", "of_test/") for name in names}
    assert scores["fid"] > scores["of_test/fid"] >= 0
    for prefix in ("", "of_test/"):
        assert 1 <= scores[prefix + "inception_score"] <= 10
        assert scores[prefix + "modified_inception_score"] >= 1
        assert scores[prefix + "am_score"] >= 0
    assert made.metrics["test/bits_per_sample"] < 16
    assert "test/bits_per_sample_by_position/64" in made.metrics
    store = open_store("speech", create=False)
    kept = {Path(file.path).name for file in store.client.list_artifacts(made.run_id, "samples")}
    assert kept == {f"{number:02d}.{ending}" for number in range(6) for ending in ("wav", "png")}
    beside = {file.path for file in store.client.list_artifacts(made.run_id)}
    assert {"sample.wav", "sample.png"} <= beside
    confusion = {file.path for file in store.client.list_artifacts(judge.run_id)}
    assert {"confusion.png", "confusion.csv"} <= confusion

    other = write_digits(digits.parent / "other")
    (other / "nine" / "a1_nohash_0.wav").unlink()
    refused = train(*quick, f"task.path={other}", "task.classifier=judge")
    assert refused.outcome == "failed"
    assert "task.classifier=judge was trained on other data" in refused.message
    refused = train(*quick, path, f"task.classifier={made.run_id}")
    assert "is a run of the task 'sc09', which scores no samples" in refused.message
    refused = train(*quick, path, "task.classifier=judge", "task.samples=1")
    assert "task.samples=1 are too few" in refused.message
    refused = train(*quick, path, "task.classifier=nobody")
    assert "No finished run 'nobody'" in refused.message


def test_every_sample_is_judged_once_whatever_the_batches(digits: Path) -> None:
    settings = {"task": "sc09_classifier", "model": "s4", "scale": "smoke"}
    config = resolve(settings | {"task.path": str(digits), "task.sample_rate": "2000", "model.d_model": "8"})
    task = config.make_task()
    assert isinstance(task, JudgeTask)
    torch.manual_seed(0)
    model = build_shaped(config.model, shape_of(task.io)).eval()
    assert isinstance(model, SequenceClassifier)
    torch.nn.init.normal_(model.head.weight)  # surer, so that one sample more or less shows
    samples = np.random.default_rng(0).integers(0, 256, size=(5, 2000)) // np.arange(1, 6)[:, None]

    def judged(inputs: np.ndarray) -> torch.Tensor:
        return model(torch.from_numpy(inputs)).detach().double().log_softmax(-1)

    def real(split: Split, most: int) -> torch.Tensor:
        which = task.eval_sets(split)[0]
        which = replace(which, rows=min(most, which.rows))  # spread over the split
        return judged(task.eval_batch(which, range(which.rows)).inputs)

    of_train, of_test, of_samples = real("train", 10**9), real("test", 5), judged(task.inputs_of(samples))
    expected = {
        "inception_score": inception_score(of_samples),
        "am_score": am_score(of_train, of_samples),
        "of_test/inception_score": inception_score(of_test),
        "of_test/am_score": am_score(of_train, of_test),
    }
    for size in (1, 2, 5, 64):
        found = Judge(model, task, batch_size=size).scores(list(samples))
        assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_a_task_without_a_judge_needs_none(digits: Path) -> None:
    device = torch.device("cpu")
    assert open_judge(SC09(seed=0, path=digits), "nowhere", device) is None
    with pytest.raises(UserError) as raised:
        open_judge(SC09(seed=0, path=digits, classifier="x", samples=1), "nowhere", device)
    assert str(raised.value) == "task.samples=1 are too few to be scored: take 2 or more."

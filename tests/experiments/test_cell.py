"""A cell's life: trained, stopped in any way and resumed exactly, diverged."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments import checkpoints
from seqsuite.experiments.cell import CellResult, Host, run_cell
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.grid import failed_before
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import CellRun, Store
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.tasks.selective_copying import SelectiveCopying

from .cells import cell, cell_run, folder_of, run, series, weights


def test_a_finished_cell_has_all_it_is_compared_by(store: Store, tmp_path: Path) -> None:
    result, steps = run(cell(tmp_path), store)
    recorded = store.get(result.run_id)
    assert (result.outcome, recorded.status, steps) == ("finished", "FINISHED", list(range(1, 9)))
    once = {
        "test/accuracy",
        "best/accuracy",
        "baseline/accuracy",
        "baseline/chance/accuracy",
        "model/parameters",
    }
    assert once <= set(recorded.metrics)
    assert {"train/loss", "train/gradient_norm", "train/speed", "validation/accuracy"} <= set(
        recorded.metrics
    )
    per_token = recorded.metrics["train/flops_per_second"] / recorded.metrics["train/tokens_per_second"]
    assert per_token > 5 * recorded.metrics["model/parameters"]
    assert "train/share_of_peak" not in recorded.metrics  # a CPU's is not known
    assert result.metrics["test/accuracy"] == recorded.metrics["test/accuracy"]
    assert recorded.params["train.steps"] == "8"
    assert recorded.params["model.mixer.d_state"] == "16"
    assert recorded.tags[schema.TAG_TASK] == "selective_copying"
    assert recorded.tags[schema.TAG_METRIC_UNIT] == "%"
    history = store.client.get_metric_history(result.run_id, "validation/loss")
    assert [point.step for point in history] == [3, 6, 8]
    artifacts = {path.path for path in store.client.list_artifacts(result.run_id)}
    assert {"last", "curve.txt"} <= artifacts
    assert "last/training.pt" in {path.path for path in store.client.list_artifacts(result.run_id, "last")}
    assert "embedding.weight" in weights(store, result, tmp_path)
    assert not folder_of(result.config).exists()


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


@pytest.mark.parametrize("after", [2, 3, 7, 8])
@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_an_interrupted_cell_resumes_exactly(store: Store, tmp_path: Path, after: int, model: str) -> None:
    config = cell(tmp_path, model=model)
    quiet, _ = run(config, store)
    with pytest.raises(Interrupted):
        run(config, store, after, force=True)
    newest = store.search(f"tags.`{schema.TAG_CELL}` = '{config.cell_id('')}' and status = 'KILLED'")[0]

    resumed, steps = _resume(config, store)
    assert resumed.outcome == "finished"
    assert resumed.run_id == newest.run_id
    assert steps == list(range(after + 1, 9))
    expected = weights(store, quiet, tmp_path / "a")
    for name, value in weights(store, resumed, tmp_path / "b").items():
        assert torch.equal(value, expected[name]), name
    assert series(store, resumed.run_id) == series(store, quiet.run_id)


def _resume(config: CellConfig, store: Store) -> tuple[CellResult, list[int]]:
    """Run again as if the quiet run were not there, which would be found finished."""

    class Blind(Store):
        def search(self, condition: str) -> list[CellRun]:
            return [found for found in super().search(condition) if found.status != "FINISHED"]

    return run(config, Blind(store.uri, store.experiment_id, store.experiment, store.client))


@pytest.mark.parametrize("kind", [OSError, MemoryError, RuntimeError])
def test_whatever_ends_a_cell_it_goes_on_from_the_newest_checkpoint(
    store: Store, tmp_path: Path, kind: type[Exception]
) -> None:
    config = cell(tmp_path)

    def fail() -> None:
        raise kind("something broke")

    failed, _ = run(config, store, 5, fail)
    assert failed.outcome == "failed"
    assert cell_run(store, config).status == "FAILED"
    assert cell_run(store, config).tags[schema.TAG_FAILURE] == failed.message
    resumed, steps = run(config, store)
    assert (resumed.outcome, steps) == ("finished", [4, 5, 6, 7, 8])
    assert cell_run(store, config).status == "FINISHED"
    quiet, _ = run(config, store, force=True)
    assert series(store, resumed.run_id) == series(store, quiet.run_id)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = cell(tmp_path)
    with pytest.raises(Interrupted):
        run(config, store, 6)
    newest = sorted(folder_of(config).glob("step-*"))[-1]
    (newest / "training.pt").write_bytes(b"")
    resumed, steps = run(config, store)
    assert (resumed.outcome, steps) == ("finished", [6, 7, 8])
    assert "is damaged (training.pt has 0 bytes" in caplog.text


def test_an_exception_of_a_plug_in_is_told_with_its_file_and_line(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, rows: range) -> None:
        raise ZeroDivisionError("in my own task")

    monkeypatch.setattr(SelectiveCopying, "train_batch", broken)
    failed, _ = run(cell(tmp_path), store)
    assert failed.outcome == "failed"
    assert f"ZeroDivisionError in {__file__}, line " in failed.message
    assert "in my own task" in failed.message
    assert "Traceback" in (folder_of(failed.config) / "traceback.txt").read_text()


def test_divergence_names_step_and_parameter_and_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path, **{"train.learning_rate": "1e30", "train.clip": None, "train.warmup": "0"})
    result, _ = run(config, store)
    assert result.outcome == "diverged"
    assert "is not finite at step 2" in result.message
    assert store.get(result.run_id).status == "FAILED"
    again, steps = run(config, store)
    assert (again.outcome, again.run_id, steps) == ("diverged", result.run_id, [])
    assert "--force" in again.message
    forced, steps = run(config, store, force=True)
    assert (forced.outcome, steps) == ("diverged", [1])
    retried, steps = run(config, store, retry_failed=True)
    assert (retried.outcome, steps) == ("diverged", [1])
    (failed,) = failed_before([cell(tmp_path, seed="1"), config], store)
    assert failed is config
    assert failed_before([config], None) == [config]  # its journal says so
    with pytest.raises(UserError, match="None of these cells has failed"):
        failed_before([cell(tmp_path, seed="1")], store)


def test_what_failed_says_what_is_left_to_send_and_is_sent_by_the_next(store: Store, tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("something broke")

    failed, _ = run(cell(tmp_path), None, 5, fail)
    assert (failed.outcome, failed.unsent > 5) == ("failed", True)
    config = cell(tmp_path, **{"train.learning_rate": "1e30", "train.clip": None, "train.warmup": "0"})
    diverged, _ = run(config, None)
    assert (diverged.outcome, diverged.unsent > 0) == ("diverged", True)
    again, steps = run(config, store)
    assert (again.outcome, again.unsent, steps) == ("diverged", 0, [])
    assert cell_run(store, config).status == "FAILED"
    assert cell_run(store, config).run_id == again.run_id


def test_a_model_of_nan_is_never_finished(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path, **{"train.steps": "1", "train.learning_rate": "1e38", "train.warmup": "0"})
    result, _ = run(config, store)
    assert result.outcome == "diverged"
    assert "validation loss is nan after step 1" in result.message


def test_a_kill_while_publishing_publishes_once(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)

    def die(journal: Journal, folder: Path) -> Path:
        raise KeyboardInterrupt

    host = Host(store, lambda *_: nullcontext(Callback()), die, InterruptionFlag())
    with pytest.raises(KeyboardInterrupt):
        run_cell(config, host)
    result, steps = run(config, store)
    assert (result.outcome, steps) == ("finished", [])
    assert all(len(points) == len(dict(points)) for points in series(store, result.run_id).values())


def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, real, count = cell(tmp_path), checkpoints.save_file, 0

    def full(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        failed, _ = run(config, store)
    assert failed.outcome == "failed"
    assert "No space left on device" in failed.message
    resumed, steps = run(config, store)
    assert resumed.outcome == "finished"
    assert steps[0] > 1

"""A cell's life: trained, skipped, stopped in any way and resumed exactly, diverged."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqsuite.errors import UserError
from seqsuite.experiments import checkpoints
from seqsuite.experiments.cell import CellResult, Host, run_cell, work_folder
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.grid import failed_before
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema, uploader
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.store import CellRun, Store, open_store
from seqsuite.experiments.tracking.uploader import sync
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.publish import publish
from seqsuite.tasks.selective_copying import SelectiveCopying


class Watcher(Callback):
    """Counts steps, and does something after a given one."""

    def __init__(self, after: int | None, act: Callable[[], None]) -> None:
        self.after, self.act = after, act
        self.steps: list[int] = []

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        self.steps.append(step)
        if step == self.after:
            self.act()


@pytest.fixture
def store(shared_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(shared_folder)
    return open_store(request.node.name)


def cell(tmp_path: Path, **settings: Any) -> CellConfig:
    quick = {
        "task": "selective_copying",
        "scale": "smoke",
        "train.steps": "8",
        "train.eval_every": "3",
        "task.eval_examples": "16",
        "run.output": str(tmp_path / "runs"),
        "run.checkpoint_every": "2",
    }
    return resolve({**quick, **settings})


def picture(journal: Journal, folder: Path) -> Path:
    path = folder / "curve.txt"
    path.write_text(str(journal.series("train/loss")))
    return path


def run(
    config: CellConfig,
    store: Store | None,
    after: int | None = None,
    act: Callable[[], None] | None = None,
    **options: Any,
) -> tuple[CellResult, list[int]]:
    """Run a cell; after a step, ask to stop or do something else."""
    flag = InterruptionFlag()

    def interrupt() -> None:
        flag.requested = True

    watcher = Watcher(after, act or interrupt)
    host = Host(store, lambda *_: nullcontext(watcher), picture, flag, **options)
    return run_cell(config, host), watcher.steps


def folder_of(config: CellConfig) -> Path:
    return work_folder(config, config.cell_id(config.make_task().fingerprint()))


def cell_run(store: Store, config: CellConfig) -> CellRun:
    found = store.find_cell(config.cell_id(""))
    assert found is not None
    return found


def weights(store: Store, result: CellResult, folder: Path) -> dict[str, torch.Tensor]:
    return load_file(store.model_folder(result.run_id, folder) / "model.safetensors")


def series(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return all curves but those of time."""
    timed = (
        schema.SPEED,
        schema.TRAIN_SECONDS,
        schema.TOKENS_PER_SECOND,
        schema.INPUT_WAIT,
        schema.PEAK_MEMORY,
        schema.FLOPS_PER_SECOND,
    )
    return {
        key: [(point.step, point.value) for point in store.client.get_metric_history(run_id, key)]
        for key in store.get(run_id).metrics
        if key not in timed
    }


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


def test_a_finished_cell_is_skipped(store: Store, tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), store)
    again, steps = run(cell(tmp_path), store)
    assert (again.outcome, again.run_id, steps) == ("skipped", first.run_id, [])
    assert again.metrics["test/accuracy"] == first.metrics["test/accuracy"]


def test_a_cell_that_another_process_runs_is_left_alone_unless_taken_over(
    store: Store, tmp_path: Path
) -> None:
    config = cell(tmp_path)
    with Lease.take(folder_of(config)):
        result, steps = run(config, store)
        assert (result.outcome, steps) == ("busy", [])
        assert "take over" in result.message
        taken, _ = run(config, store, takeover=True)
        assert taken.outcome == "finished"


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


def test_a_cell_without_a_store_is_kept_until_it_is_sent(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)
    result, _ = run(config, None)
    assert result.outcome == "finished"
    assert result.unsent > 0
    assert store.find_cell(config.cell_id("")) is None
    sent, steps = run(config, store)
    assert (sent.outcome, sent.unsent, steps) == ("skipped", 0, [])
    assert cell_run(store, config).status == "FINISHED"
    assert not folder_of(config).exists()


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


def test_the_data_is_part_of_the_identity(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    settings = {"task": "text", "task.path": str(file), "task.seqlen": "16"}
    file.write_text("many words, many words. " * 40)
    config = cell(tmp_path, **settings, **{"train.steps": "2"})
    first, _ = run(config, store)
    file.write_text("other words, other words. " * 40)
    second, steps = run(config, store)
    assert (first.outcome, second.outcome, len(steps)) == ("finished", "finished", 2)
    assert store.get(first.run_id).tags[schema.TAG_DATA] != store.get(second.run_id).tags[schema.TAG_DATA]


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


def test_where_mlflow_is_gone_a_cell_is_run_and_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was there when the grid began."""
    away = Store(store.uri, store.experiment_id, store.experiment, None)

    def refuse(*_: object, **__: object) -> None:
        raise UserError("no server answers there.")

    for name in ("search", "find_journal", "start_cell", "log_points"):
        monkeypatch.setattr(away, name, refuse)
    monkeypatch.setattr("seqsuite.experiments.cell.ASKING_SECONDS", 0.0)
    monkeypatch.setattr(uploader, "GIVE_UP_SECONDS", 0.0)
    config = cell(tmp_path)
    result, steps = run(config, away)
    assert (result.outcome, result.run_id, len(steps)) == ("finished", "", 8)
    assert result.unsent > 8
    assert sync(folder_of(config), store) == result.unsent
    assert cell_run(store, config).status == "FINISHED"


def test_a_cell_that_fails_after_it_was_taken_over_leaves_its_run_to_the_other(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        monkeypatch.setattr(Lease, "lost", lambda _: True)
        raise ValueError("a fault of ours")

    config = cell(tmp_path)
    result, _ = run(config, store, 3, fail)
    assert (result.outcome, result.unsent) == ("failed", 0)
    left = store.find_cell(config.cell_id(""))
    assert left is None or left.status == "RUNNING"  # sent or not, it has not ended


def test_a_run_of_a_version_with_fewer_options_is_the_cell_s(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)
    params = config.model_dump(mode="json")
    del params["train"]["ema"]
    tags = {schema.TAG_SCALE: config.scale, schema.TAG_SEED: str(config.seed)}
    old = store.start_cell(RunHeader("of another version", "group", config.title, params, tags, None))
    store.finish(old, "FINISHED")
    assert (run(config, store)[0].outcome, run(config, store)[0].run_id) == ("skipped", old)
    other, _ = run(config.model_copy(update={"seed": config.seed + 1}), store)
    assert other.outcome == "finished"
    assert run(config, store, force=True)[0].outcome == "finished"


def test_a_forced_run_that_was_interrupted_goes_on_without_force(store: Store, tmp_path: Path) -> None:
    """The command that is shown then has no --force, which would begin anew."""
    config = cell(tmp_path)
    quiet, _ = run(config, store)
    with pytest.raises(Interrupted):
        run(config, store, 5, force=True)
    again, steps = run(config, store)
    assert (again.outcome, again.run_id != quiet.run_id) == ("finished", True)
    assert steps == [6, 7, 8]
    assert run(config, store)[0].run_id == again.run_id
    assert series(store, again.run_id) == series(store, quiet.run_id)


def test_what_was_finished_without_a_store_has_its_metrics(tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), None)
    again, _ = run(cell(tmp_path), None)
    assert again.outcome == "skipped"
    assert again.metrics["test/accuracy"] == first.metrics["test/accuracy"]


def test_who_lost_a_cell_while_publishing_leaves_its_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [False]
    monkeypatch.setattr(Lease, "lost", lambda self: lost[0])

    def and_lose(*args: Any, **options: Any) -> Any:
        lost[0] = True
        return publish(*args, **options)

    monkeypatch.setattr("seqsuite.experiments.cell.publish", and_lose)
    config = cell(tmp_path)
    result, _ = run(config, store)
    assert result.outcome == "busy"
    assert "was taken over by another process" in result.message
    assert folder_of(config).is_dir()
    assert Journal.open(folder_of(config)).status is None

"""What a cell says: of its data, of what stopped it, and how long it asks whether it was run before."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqsuite.devices import hardware
from seqsuite.errors import UserError
from seqsuite.experiments import earlier
from seqsuite.experiments.cell import Host, run_cell
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema, uploader
from seqsuite.experiments.tracking.events import EVENTS, Started, journal_status, journal_tag, read_events
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.tasks.base import Batch, EvalSet
from seqsuite.tasks.selective_copying import SelectiveCopying


def broken(*_: object) -> Any:
    raise ZeroDivisionError("in my  own\ntask.")


@pytest.fixture(autouse=True)
def task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SelectiveCopying, "train_batch", broken)
    monkeypatch.setattr(uploader, "GIVE_UP_SECONDS", 0.0)


def run(tmp_path: Path, store: Any, flag: InterruptionFlag, **settings: str) -> Path:
    """Run a cell whose task fails at once; return its folder."""
    small = {"task.length": "20", "task.eval_examples": "16", "model.n_layer": "1", "run.device": "cpu"}
    told = {"task": "selective_copying", "scale": "smoke", "run.output": str(tmp_path), **small, **settings}
    config = resolve(told)
    result = run_cell(config, Host(store, lambda *_: nullcontext(Callback()), broken, flag))
    assert result.outcome == "failed"
    return config.work_folder(config.make_task().fingerprint())


def test_a_cell_is_recorded_with_what_its_results_are_compared_by(tmp_path: Path) -> None:
    folder = run(tmp_path, None, InterruptionFlag(), seed="3")
    started = next(event for event, _ in read_events(folder / EVENTS))
    assert isinstance(started, Started)
    own = {key: value for key, value in started.header.tags.items() if not key.startswith("mlflow")}
    for volatile in (schema.TAG_PROCESS, schema.TAG_HOST, schema.TAG_MACHINE):
        del own[volatile]
    assert own == {
        schema.TAG_TASK: "selective_copying",
        schema.TAG_MODEL: "mamba",
        schema.TAG_SCALE: "smoke",
        schema.TAG_SEED: "3",
        schema.TAG_HARDWARE: hardware(torch.device("cpu")),
        schema.TAG_DATA: "",
        schema.TAG_EVALS: "all: 16 x 24",
        schema.TAG_METRIC: "accuracy",
        schema.TAG_METRIC_UNIT: "%",
        schema.TAG_METRIC_DIGITS: "2",
        schema.TAG_HIGHER_IS_BETTER: "true",
        schema.TAG_BASELINE: "chance",
    }
    assert started.header.name == "selective_copying-mamba-smoke-seed3"


@pytest.mark.parametrize(
    ("journal", "stopped", "times"),
    [
        (False, False, 61),  # once a second, for a minute
        (True, False, 1),
        (False, True, 1),
    ],
)
def test_a_store_that_is_away_is_asked_for_a_minute_where_only_it_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bool, stopped: bool, times: int
) -> None:
    clock = [50.0]
    monkeypatch.setattr(
        earlier,
        "time",
        SimpleNamespace(
            monotonic=lambda: clock[0], sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds)
        ),
    )
    asked: list[str] = []

    def find_cell(cell_id: str) -> None:
        asked.append(cell_id)
        raise UserError("no server answers there.")

    flag = InterruptionFlag()
    if journal:
        run(tmp_path, None, flag)
    flag.requested = stopped
    with pytest.raises(Interrupted) if stopped else nullcontext():
        run(tmp_path, SimpleNamespace(find_cell=find_cell), flag)
    assert len(asked) == times


def test_a_task_that_exits_fails_its_cell_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object) -> Any:
        raise SystemExit(3)

    monkeypatch.setattr(SelectiveCopying, "train_batch", leave)
    folder = run(tmp_path, None, InterruptionFlag())
    assert journal_status(folder) == "FAILED"
    assert f"SystemExit in {__file__}, line " in (journal_tag(folder, schema.TAG_FAILURE) or "")
    monkeypatch.setattr(SelectiveCopying, "fingerprint", leave)
    config = resolve({"task": "selective_copying", "scale": "smoke", "run.output": str(tmp_path)})
    result = run_cell(config, Host(None, lambda *_: nullcontext(Callback()), broken, InterruptionFlag()))
    assert result.outcome == "failed"
    assert result.message.endswith(": 3.")


def test_a_test_set_is_looked_at_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained: a row of training would be another failure."""
    real = SelectiveCopying.eval_batch

    def wrong(self: SelectiveCopying, which: EvalSet, rows: range) -> Batch:
        batch = real(self, which, rows)
        return batch._replace(targets=batch.targets + 99) if which.split == "test" else batch

    monkeypatch.setattr(SelectiveCopying, "eval_batch", wrong)
    folder = run(tmp_path, None, InterruptionFlag())
    told = journal_tag(folder, schema.TAG_FAILURE) or ""
    assert "The task SelectiveCopying has the target " in told
    assert "in row 0 of the test set 'all'" in told

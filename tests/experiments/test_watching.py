"""How far cells are, as their journals tell it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking import journal as journal_module
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.watching import Watch


def test_a_cell_is_followed_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000]
    monkeypatch.setattr(journal_module, "time", SimpleNamespace(time_ns=lambda: clock[0] * 10**9))
    config = resolve(
        {"task": "selective_copying", "scale": "smoke", "train.steps": "10", "run.output": str(tmp_path)}
    )
    other = config.model_copy(update={"seed": 1})
    watch = Watch([config, other])
    assert [progress.state for progress in watch.look()] == ["waiting", "waiting"]
    with Journal.open(config.work_folder(config.make_task().fingerprint())) as journal:
        journal.start(RunHeader("c", "g", "n", {}, {}), None)
        assert watch.look()[0].state == "running"
        journal.metrics({"train/loss": 2.0}, 1)
        journal.metrics({"train/speed": 2.0}, 1)
        journal.metrics({"test/accuracy": 2.0}, 9)
        assert (watch.look()[0].seconds_left, watch.look()[0].step) == (None, 1)
        clock[0] += 12
        journal.metrics({"train/loss": 1.0, "validation/accuracy": 50.0}, 4)
        (first, second) = watch.look()
        assert (first.step, first.metrics["validation/accuracy"], second.step) == (4, 50.0, 0)
        assert first.seconds_left == 24.0  # three steps took 12
        journal.end("KILLED")
        assert watch.look()[0].state == "waiting"
    watch.ended(CellResult(config, "finished", "", metrics={"test/accuracy": 60.0}))
    first, _ = watch.look()
    assert (first.state, first.step, first.metrics["test/accuracy"]) == ("finished", 10, 60.0)

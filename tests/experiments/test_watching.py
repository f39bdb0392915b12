"""How far cells are, as their journals tell it."""

import time
from pathlib import Path

from seqsuite.experiments.cell import CellResult, work_folder
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.watching import Watch


def test_a_cell_is_followed_from_its_start_to_its_end(tmp_path: Path) -> None:
    config = resolve(
        {"task": "selective_copying", "scale": "smoke", "train.steps": "10", "run.output": str(tmp_path)}
    )
    other = config.model_copy(update={"seed": 1})
    watch = Watch([config, other])
    assert [progress.state for progress in watch.look()] == ["waiting", "waiting"]
    with Journal.open(work_folder(config, config.cell_id(config.make_task().fingerprint()))) as journal:
        journal.start(RunHeader("c", "g", "n", {}, {}), None)
        assert watch.look()[0].state == "running"
        before = time.time()
        journal.metrics({"train/loss": 2.0}, 1)
        assert watch.look()[0].seconds_left is None
        time.sleep(0.1)
        journal.metrics({"train/loss": 1.0, "validation/accuracy": 50.0}, 4)
        three_steps = time.time() - before
        (first, second) = watch.look()
        assert (first.step, first.metrics["validation/accuracy"], second.step) == (4, 50.0, 0)
        assert first.seconds_left is not None
        assert 2 * 0.09 <= first.seconds_left <= 2 * three_steps + 0.01  # six steps; in whole milliseconds
        journal.end("KILLED")
        assert watch.look()[0].state == "waiting"
    watch.ended(CellResult(config, "finished", "", metrics={"test/accuracy": 60.0}))
    first, _ = watch.look()
    assert (first.state, first.step, first.metrics["test/accuracy"]) == ("finished", 10, 60.0)

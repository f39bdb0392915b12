"""A cell that two processes want: one has it, and who loses it leaves it alone."""

from pathlib import Path
from typing import Any

import pytest

from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.store import Store
from seqsuite.experiments.training.publish import publish

from .cells import cell, folder_of, run


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

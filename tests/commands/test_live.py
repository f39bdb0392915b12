"""The table of a grid's cells, and the lines where there is no terminal."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from seqsuite.commands.live import LiveTable
from seqsuite.commands.plan import print_plan
from seqsuite.commands.run import print_failures
from seqsuite.errors import UserError
from seqsuite.experiments import memory
from seqsuite.experiments.cell import CellResult, Outcome
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.schema import CellConfig


def cells(folder: Path, *settings: str) -> list[CellConfig]:
    few = ["task=selective_copying", "scale=smoke", f"run.output={folder}", *settings]
    return resolve_grid(expand_grid(few))


def shown(console: Console, what: object) -> str:
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_all_cells_are_shown_where_there_is_room(tmp_path: Path) -> None:
    grid = cells(tmp_path, "seed=0..11")
    table = LiveTable(Console(width=100, height=40, force_terminal=True, color_system=None), grid)
    table.ended(CellResult(grid[0], "finished", "", metrics={"test/accuracy": 97.25}))
    table.ended(CellResult(grid[9], "failed", "", "why"))
    text = shown(Console(width=100, color_system=None), table.table())
    assert len(text.splitlines()) == 13
    assert "finished  300/300  accuracy 97.25 %" in text
    assert text.count("waiting") == 10
    low = LiveTable(Console(width=60, height=9, force_terminal=True, color_system=None), grid)
    low.ended(CellResult(grid[9], "failed", "", "why"))
    text = shown(Console(width=60, color_system=None), low.table())
    assert "failed" in text
    assert "and 9 more" in text
    assert "seed9" in text  # where the whole name has no room


def test_off_a_terminal_nothing_is_drawn(tmp_path: Path) -> None:
    buffer = io.StringIO()
    with LiveTable(Console(file=buffer), cells(tmp_path)):
        pass
    assert buffer.getvalue() == ""


def test_a_grid_ends_with_a_sentence_for_each_failure(tmp_path: Path) -> None:
    buffer = io.StringIO()
    grid = cells(tmp_path, "seed=0..2")
    outcomes: list[tuple[Outcome, str]] = [
        ("finished", ""),
        ("failed", "The disk is full."),
        ("diverged", "The loss is nan."),
    ]
    results = [
        CellResult(cell, outcome, "", message)
        for cell, (outcome, message) in zip(grid, outcomes, strict=True)
    ]
    print_failures(Console(file=buffer, width=200), results)
    assert buffer.getvalue().splitlines() == [
        "2 of 3 cells did not finish:",
        "  selective_copying-mamba-smoke-seed1: failed: The disk is full.",
        "  selective_copying-mamba-smoke-seed2: diverged: The loss is nan.",
    ]


def test_a_dry_run_tells_time_and_what_will_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10_000_000)
    buffer = io.StringIO()
    grid = cells(tmp_path, "seed=0..2", "run.executor=processes", "run.parallel=3", "train.steps=100000000")
    print_plan(Console(file=buffer, width=200), grid, probe=True)
    text = buffer.getvalue()
    assert "in all, 3 at a time: from 4 steps of each" in text
    assert " h" in text
    assert re.search(
        r"Will not fit: .*-seed2 needs more memory than there is: about \d+ MB \(measured\)", text
    )
    assert not tmp_path.joinpath("runs").exists()


def test_a_dry_run_tells_what_will_not_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10_000_000)
    buffer = io.StringIO()
    grid = cells(tmp_path, "seed=0..2", "run.executor=processes", "run.parallel=3")
    print_plan(Console(file=buffer, width=200), grid, probe=False)
    assert "Will not fit: 3 cells at once need more memory than there is" in buffer.getvalue()


def test_what_is_estimated_not_to_fit_is_not_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10_000_000)
    buffer = io.StringIO()
    grid = cells(tmp_path, "train.batch_size=10000000000000", "run.memory=check,ignore")
    print_plan(Console(file=buffer, width=200), grid, probe=True)
    checked, tried = [line for line in buffer.getvalue().splitlines() if line.startswith("Will not fit")]
    assert "needs more memory than there is: about" in checked
    assert "the process that tried its first steps ended for want of memory" in tried


def test_a_probe_belongs_to_a_dry_run() -> None:
    from seqsuite.commands.run import run_settings

    with pytest.raises(UserError, match="--probe belongs to --dry-run"):
        run_settings(["task=selective_copying"], dry_run=False, force=False, probe=True)

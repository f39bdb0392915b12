"""What a grid makes of its cells' results, with executors and stores that are none."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments import grid as module
from seqsuite.experiments.cell import CellResult, Host
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.failures import sentence
from seqsuite.experiments.grid import check_cells, failed_before, run_grid
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.tasks.base import EvalSet, Metric
from seqsuite.tasks.selective_copying import SelectiveCopying

TINY = {"task": "selective_copying", "scale": "smoke", "model.d_model": "8"}


def cells(folder: Path, count: int) -> list[CellConfig]:
    told = TINY | {"run.output": str(folder / "runs")}
    return [resolve(told | {"seed": str(seed)}) for seed in range(count)]


class Store:
    """Notes what is asked of it, and knows runs by the seeds of their cells."""

    def __init__(self, statuses: dict[str, str] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._statuses = statuses or {}

    def start_grid(self, *given: Any) -> str:
        self.calls.append(given)
        return "parent"

    def finish(self, *given: Any) -> None:
        self.calls.append(given)

    def find_cell(self, cell_id: str) -> Any:
        status = self._statuses.get(cell_id)
        return None if status is None else SimpleNamespace(status=status)

    def search(self, condition: str) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        (["finished", "skipped"], "FINISHED"),
        (["finished", "failed"], "FAILED"),
        (["busy", "finished"], "FAILED"),
        ([ValueError("of an executor")], "FAILED"),
        ([Interrupted()], "KILLED"),
    ],
)
def test_a_grid_s_run_ends_as_its_cells_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[Any], status: str
) -> None:
    grid, store, plans = cells(tmp_path, 2), Store(), []

    def run(whole: Sequence[CellConfig], stop: InterruptionFlag) -> Iterator[CellResult]:
        for cell, outcome in reversed(list(zip(whole, outcomes, strict=False))):
            if isinstance(outcome, BaseException):
                raise outcome
            yield CellResult(cell, outcome, "")

    monkeypatch.setattr(
        module, "make_executor", lambda name, plan: plans.append((name, plan)) or SimpleNamespace(run=run)
    )
    host = Host(store, None, None, InterruptionFlag())  # type: ignore[arg-type]
    seen: list[CellResult] = []
    if isinstance(outcomes[0], BaseException):
        with pytest.raises(type(outcomes[0])):
            run_grid(grid, host, seen.append)
    else:
        found = run_grid(grid, host, seen.append)
        assert [result.outcome for result in found] == outcomes
        assert seen == found[::-1]
    titles = {"cells": [cell.title for cell in grid]}
    assert store.calls == [("grid of 2 cells", titles), ("parent", status)]
    assert [(name, plan.parent_run_id) for name, plan in plans] == [("inline", "parent")]
    if status == "FINISHED":
        alone = run_grid(grid[:1], host, seen.append)
        assert (alone[0].outcome, len(store.calls)) == ("finished", 2)
        fault = UserError("there is no data")
        first, second = run_grid(grid, host, seen.append, [fault, None])
        assert (first.outcome, first.message, second.config) == ("failed", "there is no data", grid[1])
        assert store.calls[-1] == ("parent", "FAILED")


def test_cells_of_another_process_are_looked_at_again_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the last of two that were started with one grid ends with all of it."""
    rounds = []

    def run(whole: Sequence[CellConfig], stop: InterruptionFlag) -> Iterator[CellResult]:
        rounds.append([cell.seed for cell in whole])
        for cell in whole:
            yield CellResult(cell, "busy" if cell.seed in held else "finished", "")
        held.discard(1)

    monkeypatch.setattr(module, "make_executor", lambda name, plan: SimpleNamespace(run=run))
    host = Host(None, None, None, InterruptionFlag())  # type: ignore[arg-type]
    seen: list[CellResult] = []
    held = {1, 2}
    found = run_grid(cells(tmp_path, 4), host, seen.append)
    assert rounds == [[0, 1, 2, 3], [1, 2]]
    assert [result.outcome for result in found] == ["finished", "finished", "busy", "finished"]
    assert [result.config.seed for result in seen] == [0, 3, 1, 2]
    rounds.clear()
    held = {0, 1}
    assert [result.outcome for result in run_grid(cells(tmp_path, 2), host, seen.append)] == ["busy", "busy"]
    assert rounds == [[0, 1]]  # nothing has been done meanwhile


def test_cells_have_failed_by_the_store_or_by_their_journals(tmp_path: Path) -> None:
    grid = cells(tmp_path, 6)
    data = grid[0].make_task().fingerprint()
    ids = [cell.cell_id(data) for cell in grid]
    recorded = ["FAILED", "FINISHED", None, "KILLED", None, None]
    journaled = [None, "FAILED", "FAILED", "FAILED", "KILLED", None]
    for cell, status in zip(grid, journaled, strict=True):
        if status is not None:
            with Journal.open(cell.work_folder(data)) as journal:
                journal.start(RunHeader("c", "g", "n", {}, {}), None)
                journal.end(status)  # type: ignore[arg-type]
    store: Any = Store({key: status for key, status in zip(ids, recorded, strict=True) if status})
    assert [cell.seed for cell in failed_before(grid, store)] == [0, 2, 3]
    assert [cell.seed for cell in failed_before(grid, None)] == [1, 2, 3]
    with pytest.raises(UserError, match="None of these cells has failed: leave out --retry-failed"):
        failed_before(grid[4:], store)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([{"run.experiment": "a"}, {"run.experiment": "b"}], "give run.experiment a single value"),
        ([{"run.executor": "processes", "run.device": each} for each in ("cpu", "auto")], "give run.device"),
        ([{"run.device": each} for each in ("cpu", "auto")], None),
        ([{"run.parallel": "1"}], None),
        ([{"model.backbone": "unet"}], None),
    ],
)
def test_what_a_grid_s_cells_must_agree_on(
    tmp_path: Path, settings: list[dict[str, str]], said: str | None
) -> None:
    told = TINY | {"run.output": str(tmp_path / "runs"), "run.memory": "ignore", "task.length": "12"}
    grid = [resolve(told | each) for each in settings]
    if said is None:
        assert check_cells(grid) == [None] * len(grid)
    else:
        with pytest.raises(UserError, match=said):
            check_cells(grid)


def test_a_fault_is_told_by_the_line_in_which_it_is(tmp_path: Path) -> None:
    def deeper() -> None:
        raise ValueError("no\n  such   thing.")

    def told(error: Exception, folder: Path | None = None) -> str:
        try:
            raise error
        except Exception as caught:
            return sentence(caught, folder)

    with pytest.raises(ValueError, match="such") as raised:
        deeper()
    line = deeper.__code__.co_firstlineno + 1
    place = f"ValueError in {__file__}, line {line}: no such thing"
    assert sentence(raised.value) == f"{place}."
    assert sentence(raised.value, tmp_path) == f"{place} (the traceback is in {tmp_path / 'traceback.txt'})."
    assert "in deeper" in (tmp_path / "traceback.txt").read_text()
    assert told(UserError("Mend it.")) == "Mend it."
    gone = "x cannot be used (No such file or directory): mend that, and run it again."
    assert told(FileNotFoundError(2, "gone", "x")) == gone
    assert told(OSError(2, "gone")).startswith("FileNotFoundError in ")
    assert told(OSError("gone")).startswith("OSError in ")
    assert told(MemoryError()).startswith("It needs more memory than there is: ")
    assert told(KeyError()).endswith(": raise error.")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "eval_sets",
            lambda _, split: [EvalSet(split, "one", 4, 4)] * 2,
            "has two validation sets of the name",
        ),
        ("metrics", (Metric("f1"),), "has the metric 'f1', which nothing computes"),
        ("eval_sets", lambda *_: sys.exit("no data"), "SystemExit in .*: no data"),
    ],
)
def test_a_task_that_cannot_be_ranked_or_exits_is_told_before_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, said: str
) -> None:
    monkeypatch.setattr(SelectiveCopying, name, value)
    with pytest.raises(UserError, match=said):
        check_cells(cells(tmp_path, 2))

"""A grid of cells, run one after the other."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from seqsuite.devices import choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.cell import GOOD, CellResult, Host, run_cell, sentence
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.memory import memory_faults
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Store
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.experiments.training.placement import check_batches
from seqsuite.models.build import count_parameters


def parameter_counts(cells: Sequence[CellConfig]) -> list[int]:
    """Return each cell's parameter count, without building its model or reading its data.

    Raises:
        UserError: if a cell's task or model contradicts itself.
    """
    return [count_parameters(cell.model, shape_of(cell.make_task().io)) for cell in cells]


def check_cells(cells: Sequence[CellConfig]) -> list[UserError | None]:
    """Find what would stop a cell, before the first one starts.

    That is its options, data, device, output folder, and the memory it takes.

    Returns:
        For each cell what is wrong with it, or ``None``.

    Raises:
        UserError: if the grid as a whole cannot run, or none of its cells can.
    """
    if len({cell.run.experiment for cell in cells}) > 1:
        raise UserError("A grid is recorded in one experiment: give run.experiment a single value.")
    by_task: dict[str, UserError | None] = {}
    faults: list[UserError | None] = []
    for cell in cells:
        key = str(cell.task)
        if key not in by_task:
            by_task[key] = _fault_in(_read_data, cell)
        faults.append(by_task[key] or _fault_in(_check_options, cell))
    for device in {cell.run.device for cell, fault in zip(cells, faults, strict=True) if fault is None}:
        places = [
            place for place, fault in enumerate(faults) if fault is None and cells[place].run.device == device
        ]
        found = memory_faults([cells[place] for place in places], choose_device(device))
        for place, fault in zip(places, found, strict=True):
            faults[place] = fault
    for place, cell in enumerate(cells):
        faults[place] = faults[place] or _fault_in(_check_writable, cell)
    known = [fault for fault in faults if fault is not None]
    if len(known) == len(cells):
        raise known[0]
    return faults


def run_grid(
    cells: Sequence[CellConfig],
    host: Host,
    after_cell: Callable[[CellResult], None],
    faults: Sequence[UserError | None] | None = None,
) -> list[CellResult]:
    """Run cells in order, skipping finished ones and continuing others; one that fails stops no other.

    Args:
        cells: What to run.
        host: What they are run with.
        after_cell: Called after each cell, with what became of it.
        faults: What :func:`check_cells` found: such cells are not tried.

    Raises:
        Interrupted: if the user asked to stop; finished cells stay finished.
    """
    parent = _start_parent(cells, host.store)
    status: FinalStatus = "KILLED"
    results: list[CellResult] = []
    try:
        for cell, fault in zip(cells, faults or [None] * len(cells), strict=True):
            if fault is not None:
                result = CellResult(cell, "failed", "", str(fault))
            else:
                result = run_cell(cell, host, parent_run_id=parent)
            after_cell(result)
            results.append(result)
        good = all(result.outcome in GOOD for result in results)
        status = "FINISHED" if good else "FAILED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        if parent is not None and host.store is not None:
            with suppress(UserError):  # a store that is gone must not hide what became of the cells
                host.store.finish(parent, status)
    return results


def _start_parent(cells: Sequence[CellConfig], store: Store | None) -> str | None:
    """Start the run that holds a grid's cells together, if there are several and a store."""
    if len(cells) == 1 or store is None:
        return None
    return store.start_grid(f"grid of {len(cells)} cells", {"cells": [cell.title for cell in cells]})


def _fault_in(check: Callable[[CellConfig], None], cell: CellConfig) -> UserError | None:
    """Return what is wrong with a cell; the code of a plug-in may raise anything."""
    try:
        check(cell)
    except UserError as error:
        return error
    except Exception as error:
        return UserError(sentence(error))
    return None


def _read_data(cell: CellConfig) -> None:
    """Construct the task and read its data."""
    task = cell.make_task()
    for split in ("validation", "test"):
        task.eval_sets(split)


def _check_options(cell: CellConfig) -> None:
    """Refuse options that contradict each other, and a device that is not there."""
    choose_device(cell.run.device)
    io = cell.make_task().io
    check_batches(cell.train, io)
    count_parameters(cell.model, shape_of(io))


def _check_writable(cell: CellConfig) -> None:
    """Create the output folder, or say why checkpoints cannot be written there."""
    folder = cell.run.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be created ({error.strerror}): set run.output to another."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The output folder {folder} cannot be written to: set run.output to another.")

"""A grid of cells, run by an executor."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress

import torch

from seqsuite.devices import choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.cell import GOOD, CellResult, Host
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.distributed.sequence import check_can_split
from seqsuite.experiments.distributed.team import world_size
from seqsuite.experiments.earlier import earlier_run
from seqsuite.experiments.executors import check_executor, make_executor
from seqsuite.experiments.executors.base import Executor, Plan, is_elsewhere, sharing
from seqsuite.experiments.failures import sentence
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.memory import memory_faults, together_fault
from seqsuite.experiments.tracking.events import journal_status
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Store
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import check_batches, check_ranks
from seqsuite.models.build import build_shaped, count_parameters
from seqsuite.tasks.base import Split
from seqsuite.tasks.checks import check_metrics, check_sets


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
    _check_executors(cells)
    by_task: dict[str, UserError | None] = {}
    faults: list[UserError | None] = []
    for cell in cells:
        key = str(cell.task)
        if key not in by_task:
            by_task[key] = _fault_in(_read_data, cell)
        faults.append(by_task[key] or _fault_in(_check_options, cell))
    if not is_elsewhere(cells[0].run):
        _check_memory(cells, faults)
    for place, cell in enumerate(cells):
        faults[place] = faults[place] or _fault_in(_check_writable, cell)
    known = [fault for fault in faults if fault is not None]
    if len(known) == len(cells):
        raise known[0]
    return faults


def _check_memory(cells: Sequence[CellConfig], faults: list[UserError | None]) -> None:
    """Note of cells without a fault which do not fit into this machine's memory.

    Raises:
        UserError: if those that fit do not so together.
    """
    for device in {cell.run.device for cell, fault in zip(cells, faults, strict=True) if fault is None}:
        places = [
            place for place, fault in enumerate(faults) if fault is None and cells[place].run.device == device
        ]
        found = memory_faults([cells[place] for place in places], choose_device(device))
        for place, fault in zip(places, found, strict=True):
            faults[place] = fault
    whole = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
    if whole:
        run = whole[0].run
        together = together_fault(whole, choose_device(run.device), sharing(run, len(whole)))
        if together is not None:
            raise together


def run_grid(
    cells: Sequence[CellConfig],
    host: Host,
    after_cell: Callable[[CellResult], None],
    faults: Sequence[UserError | None] | None = None,
) -> list[CellResult]:
    """Run cells, skipping finished ones and continuing others; one that fails stops no other.

    Args:
        cells: What to run.
        host: What they are run with.
        after_cell: Called after each cell, with what became of it; in whatever order they end.
        faults: What :func:`check_cells` found: such cells are not tried.

    Returns:
        What became of each cell, in their order.

    Raises:
        Interrupted: if the user asked to stop; finished cells stay finished.
    """
    parent = _start_parent(cells, host.store)
    status: FinalStatus = "KILLED"
    results: dict[int, CellResult] = {}
    try:
        whole = []
        for index, (cell, fault) in enumerate(zip(cells, faults or [None] * len(cells), strict=True)):
            if fault is None:
                whole.append(cell)
                continue
            results[index] = CellResult(cell, "failed", "", str(fault))
            after_cell(results[index])
        run = cells[0].run
        executor = make_executor(run.executor, Plan(host, run, parent))
        with closing(_ended(executor, whole, host.interruption)) as ended:
            for result in ended:
                after_cell(result)
                results[_index(cells, result.config)] = result
        good = all(result.outcome in GOOD for result in results.values())
        status = "FINISHED" if good else "FAILED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        if parent is not None and host.store is not None:
            with suppress(UserError):  # a store that is gone must not hide what became of the cells
                host.store.finish(parent, status)
    return [results[index] for index in sorted(results)]


def _ended(
    executor: Executor, cells: Sequence[CellConfig], stop: InterruptionFlag
) -> Generator[CellResult, None, None]:
    """Yield what became of each cell; those that other processes had are looked at again after the others.

    By then they are finished, or their process has ended and they go on here.
    """
    busy = []
    with closing(executor.run(cells, stop)) as ended:
        for result in ended:
            if result.outcome == "busy":
                busy.append(result)
            else:
                yield result
    if len(busy) == len(cells):
        yield from busy
    elif busy:
        with closing(executor.run([result.config for result in busy], stop)) as ended:
            yield from ended


def _index(cells: Sequence[CellConfig], wanted: CellConfig) -> int:
    return next(index for index, cell in enumerate(cells) if cell is wanted)


def _check_executors(cells: Sequence[CellConfig]) -> None:
    """Check that the cells agree on what runs them, and that it is there.

    Raises:
        UserError: naming the setting.
    """
    run = cells[0].run
    shared = ["executor", "parallel", "threads", "gpus"]
    if run.executor != "inline":
        shared += ["device", "nproc", "output"]
    for key in shared:
        if len({getattr(cell.run, key) for cell in cells}) > 1:
            raise UserError(f"A grid runs through one executor: give run.{key} a single value.")
    if run.executor == "inline" and (run.parallel or 1) > 1:
        raise UserError(
            f"run.parallel={run.parallel} needs processes: add run.executor=processes, or ray or slurm."
        )
    if run.gpus is not None and any(cell.run.nproc > 1 for cell in cells):
        raise UserError("Each process of run.nproc takes a GPU: leave out run.gpus.")
    if run.gpus is not None and run.executor == "slurm":
        raise UserError("Slurm gives whole GPUs: leave out run.gpus.")
    check_executor(run.executor)


def failed_before(cells: Sequence[CellConfig], store: Store | None) -> list[CellConfig]:
    """Return the cells whose last run failed or diverged, by their journals and the store.

    Raises:
        UserError: if none has, or the store cannot be read.
    """
    failed = []
    for cell in cells:
        data = cell.make_task().fingerprint()
        run = None if store is None else earlier_run(store, cell, data)
        if (run is not None and run.status == "FAILED") or (
            (run is None or run.status != "FINISHED") and journal_status(cell.work_folder(data)) == "FAILED"
        ):
            failed.append(cell)
    if not failed:
        raise UserError("None of these cells has failed: leave out --retry-failed to run what is missing.")
    return failed


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
    except (Exception, SystemExit) as error:
        return UserError(sentence(error))
    return None


def _read_data(cell: CellConfig) -> None:
    """Construct the task, read its data, and refuse what of it could not be told or ranked by."""
    task = cell.make_task()
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        check_sets(task, split, task.eval_sets(split))
    check_metrics(task, objective_for(task).names)


def _check_options(cell: CellConfig) -> None:
    """Refuse options that contradict each other, and a device that is not there."""
    if not is_elsewhere(cell.run):
        choose_device(cell.run.device)
    io = cell.make_task().io
    check_batches(cell.train, io)
    check_ranks(cell, io, world_size(cell.run))
    count_parameters(cell.model, shape_of(io))
    if cell.run.sequence_parallel > 1:
        with torch.device("meta"):
            check_can_split(build_shaped(cell.model, shape_of(io)))


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

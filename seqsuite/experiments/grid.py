"""A grid of cells, run one after the other."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult, MakeObserver, choose_device, run_cell
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.interruption import deferred_interrupts
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.models.build import count_parameters


def parameter_counts(cells: Sequence[CellConfig]) -> list[int]:
    """Return each cell's parameter count, without building its model.

    Raises:
        UserError: if a cell's task or model contradicts itself.
    """
    counts = []
    for cell in cells:
        spec = cell.make_task().spec
        counts.append(count_parameters(cell.model, vocab_size=spec.vocab_size, seqlen=spec.seqlen))
    return counts


def check_cells(cells: Sequence[CellConfig]) -> None:
    """Find what would stop any cell, before the first one starts: options, data, device, output folder.

    Raises:
        UserError: at the first thing that cannot work.
    """
    parameter_counts(cells)
    if len({cell.run.experiment for cell in cells}) > 1:
        raise UserError("A grid is recorded in one experiment: give run.experiment a single value.")
    for cell in {str(cell.task): cell for cell in cells}.values():
        cell.make_task().baseline("validation")
    for output, device in {(cell.run.output, cell.run.device) for cell in cells}:
        choose_device(device)
        _check_writable(output)


def run_grid(
    cells: Sequence[CellConfig],
    make_observer: MakeObserver,
    after_cell: Callable[[Store, CellResult], None],
    *,
    force: bool = False,
) -> list[CellResult]:
    """Run cells in order, skipping finished ones and continuing interrupted ones.

    Args:
        cells: What to run, checked by :func:`check_cells`.
        make_observer: Makes a cell's progress display.
        after_cell: Called after each cell, with what became of it.
        force: Whether to run finished cells again.

    Raises:
        Interrupted: if the user asked to stop; finished cells stay finished.
        UserError: if the store or the output folder fails.
    """
    store = open_store(cells[0].run.experiment)
    store.reap_stale()
    parent: str | None = None
    if len(cells) > 1:
        parent = store.start_grid(f"grid of {len(cells)} cells", {"cells": [cell.title for cell in cells]})
    status: FinalStatus = "KILLED"
    results: list[CellResult] = []
    try:
        with deferred_interrupts() as interruption:
            for cell in cells:
                with _memory_errors(cell):
                    result = run_cell(
                        cell, store, make_observer, interruption, parent_run_id=parent, force=force
                    )
                after_cell(store, result)
                results.append(result)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        if parent is not None:
            store.finish(parent, status)
    return results


@contextmanager
def _memory_errors(cell: CellConfig) -> Iterator[None]:
    """Turn a lack of memory into a sentence; on a CPU, PyTorch has no exception type of its own for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        typed = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not typed and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"{cell.title} needs more memory than there is: choose a smaller train.batch_size, "
            "train.eval_batch_size, model or sequence."
        ) from error


def _check_writable(folder: Path) -> None:
    """Create the output folder, or say why checkpoints cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be created ({error.strerror}): set run.output to another."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The output folder {folder} cannot be written to: set run.output to another.")

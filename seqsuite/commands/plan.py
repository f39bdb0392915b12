"""``seqsuite run --dry-run``: the cells, what they take, and what will not fit."""

from collections.abc import Sequence

import torch
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from seqsuite.commands.console import show
from seqsuite.commands.progress import count, duration
from seqsuite.devices import choose_device, usable_cores
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import at_once, sharing
from seqsuite.experiments.grid import parameter_counts
from seqsuite.experiments.matching import size_of
from seqsuite.experiments.memory import estimate_cells, gigabytes, memory_faults, together_fault
from seqsuite.experiments.probe import PROBE_STEPS
from seqsuite.experiments.probe import probe as probe_cells
from seqsuite.report.format import show as show_number

_NUMBERS = ("d_model", "parameters", "state bytes", "operations", "steps", "batch size", "memory", "training")


def print_plan(console: Console, cells: Sequence[CellConfig], *, probe: bool, matched: bool = False) -> None:
    """Print the cells without running them: as a table, or where that is too wide one below the other.

    Args:
        console: Where.
        cells: What would be run.
        probe: Whether to take a few steps of each, to tell how long it takes.
        matched: Whether their models were made equal in something: their widths and sizes are shown.
    """
    columns = _plan(cells, matched)
    run = cells[0].run
    parallel = at_once(run, len(cells))
    seconds: list[float] = []
    if probe:
        threads = run.threads if run.executor == "inline" else run.threads or usable_cores() // parallel or 1
        seconds = probe_cells(cells, threads)
        columns["training"] = [f"about {duration(taken)}" for taken in seconds]
    _print_columns(console, f"{count(len(cells), 'cell')}; nothing is run", columns)
    if seconds:
        total = max(max(seconds), sum(seconds) / parallel)
        alone = " in one process" if max(cell.run.nproc for cell in cells) > 1 else ""
        console.print(
            f"Training takes about {duration(total)} in all, {parallel} at a time: from {PROBE_STEPS} steps "
            f"of each{alone}, and without evaluations.",
            soft_wrap=True,
        )
    if run.device == "cuda" and not torch.cuda.is_available():
        return  # what fits is asked where it will run
    device = choose_device(run.device)
    faults = [fault for fault in memory_faults(cells, device) if fault is not None]
    if not faults:
        faults += filter(None, [together_fault(cells, device, sharing(run, len(cells)))])
    for fault in faults:
        console.print(f"Will not fit: {fault}", soft_wrap=True)


def _print_columns(console: Console, title: str, columns: dict[str, list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        show(console, table)
        return
    console.print(title)
    for row in zip(*columns.values(), strict=True):
        console.print(row[0], soft_wrap=True)
        told = ", ".join(
            f"{name} {value}" for name, value in zip(columns, row, strict=True) if name != "cell"
        )
        console.print(f"  {told}")


def _plan(cells: Sequence[CellConfig], matched: bool) -> dict[str, list[str]]:
    """Return the columns of a dry run; the backbone only if not all have the usual one."""
    columns = {"cell": [cell.title for cell in cells]}
    if {cell.model.backbone.name for cell in cells} != {"isotropic"}:
        columns["backbone"] = [cell.model.backbone.name for cell in cells]
    return columns | {
        "block": [cell.model.block.name for cell in cells],
        "mixer": [cell.model.mixer.name for cell in cells],
        **({"d_model": [str(cell.model.d_model) for cell in cells]} if matched else {}),
        "parameters": [f"{parameters:,}" for parameters in parameter_counts(cells)],
        **(_sizes(cells) if matched else {}),
        "steps": [f"{cell.train.steps:,}" for cell in cells],
        "batch size": [f"{cell.train.batch_size:,}" for cell in cells],
        "memory": [f"about {gigabytes(estimate.total)}" for estimate in estimate_cells(cells)],
    }


def _sizes(cells: Sequence[CellConfig]) -> dict[str, list[str]]:
    """Return what models may be equal in besides their parameters."""
    return {
        "state bytes": [f"{size_of(cell, 'state'):,}" for cell in cells],
        "operations": [show_number(size_of(cell, "flops"), "quantity") for cell in cells],
    }

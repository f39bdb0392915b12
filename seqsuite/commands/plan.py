"""``seqsuite run --dry-run``: the cells, what they take, and what will not fit."""

import os
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from seqsuite.commands.console import show
from seqsuite.commands.progress import count
from seqsuite.devices import choose_device, usable_cores
from seqsuite.errors import UserError
from seqsuite.experiments.config.scales import scales_of
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import at_once, sharing
from seqsuite.experiments.grid import parameter_counts
from seqsuite.experiments.matching import size_of
from seqsuite.experiments.memory import estimate_cells, gigabytes, memory_faults, together_fault
from seqsuite.experiments.probe import PROBE_STEPS, Probe
from seqsuite.experiments.probe import probe as probe_cells
from seqsuite.models.build import left_out
from seqsuite.registry import describe_error, is_of_a_plugin
from seqsuite.report.format import duration
from seqsuite.report.format import show as show_number

_NUMBERS = (
    "d_model",
    "parameters",
    "state bytes",
    "operations",
    "steps",
    "batch size",
    "memory",
    "measured",
    "training",
)


def check_probe(probe: bool, dry_run: bool) -> None:
    """Complain about a probe of cells that are to be run.

    Raises:
        UserError: if there is one.
    """
    if probe and not dry_run:
        raise UserError("--probe belongs to --dry-run: add it, or leave --probe out.")


def tell_defaults(console: Console, cells: Sequence[CellConfig]) -> None:
    """Say of tasks without any preset that their scale is a word only."""
    for name in dict.fromkeys(cell.task.name for cell in cells):
        if not scales_of(name):
            scales = "|".join(dict.fromkeys(cell.scale for cell in cells if cell.task.name == name))
            console.print(
                f"The task {name!r} has no preset: scale={scales} sets nothing, and defaults are used.",
                soft_wrap=True,
                markup=False,
            )


def tell_left_out(console: Console, cells: Sequence[CellConfig]) -> None:
    """Say of models whose layers take turns which of them have no turn: ``hybrid`` may be plain Mamba."""
    told = set[str]()
    for cell in cells:
        model, kinds = cell.model, left_out(cell.model)
        if kinds and model.name not in told:
            told.add(model.name)
            console.print(
                f"The model {model.name!r} has no layer of {', '.join(kinds)} here: it comes after "
                f"model.n_layer={model.n_layer} in model.backbone.pattern, so that it takes more layers.",
                soft_wrap=True,
                markup=False,
            )


def tell_busy(console: Console, cells: Sequence[CellConfig]) -> None:
    """Say to a person where others are at work on the machine: a cell's threads then wait for each other."""
    if (
        not console.is_terminal
        or not hasattr(os, "getloadavg")
        or all(cell.run.threads == 1 for cell in cells)
    ):
        return
    load, cores = os.getloadavg()[0], usable_cores()
    if cores > 1 and load >= cores:
        console.print(
            f"The machine is busy ({load:.1f} processes at work on {cores} cores): a run may take many times "
            "as long as alone, and is often faster with run.threads=1.",
            soft_wrap=True,
        )


def print_plan(console: Console, cells: Sequence[CellConfig], *, probe: bool, matched: bool = False) -> None:
    """Print the cells without running them: as a table, or where that is too wide one below the other.

    Args:
        console: Where.
        cells: What would be run.
        probe: Whether to take a few steps of each, to tell how long it takes and measure its memory.
        matched: Whether their models were made equal in something: their widths and sizes are shown.
    """
    tell_defaults(console, cells)
    tell_left_out(console, cells)
    try:
        columns = _plan(cells, matched)
    except Exception:
        cells = _usable(console, cells, matched)
        columns = _plan(cells, matched)
    run, device = cells[0].run, _device(cells[0])
    faults = [None] * len(cells) if device is None else memory_faults(cells, device)
    found: list[Probe | None] = []
    if probe:
        found = _probed(cells, faults)
        columns["measured"] = [
            "-" if one is None or one.memory is None else gigabytes(one.memory) for one in found
        ]
        columns["training"] = ["-" if one is None else f"about {duration(one.seconds)}" for one in found]
    _print_columns(console, f"{count(len(cells), 'cell')}; nothing is run", columns)
    if any(found):
        _print_time(console, cells, found)
    if device is None:
        return  # what fits is asked where it will run
    measured = [None if one is None else one.memory for one in found]
    if found:
        starved = [fault or _starved(cell) for cell, fault in zip(cells, faults, strict=True)]
        after = memory_faults(cells, device, measured)
        faults = [
            other if one is None else fault for one, other, fault in zip(found, starved, after, strict=True)
        ]
    told = [fault for fault in faults if fault is not None]
    if not told:
        told += filter(None, [together_fault(cells, device, sharing(run, len(cells)), measured)])
    for fault in told:
        console.print(f"Will not fit: {fault}", soft_wrap=True)


def _usable(console: Console, cells: Sequence[CellConfig], matched: bool) -> list[CellConfig]:
    """Return the cells that can be planned, and say of the others why not, as a run would go on without them.

    Raises:
        UserError: if there are none; likewise whatever a plug-in raises.
    """
    usable: list[CellConfig] = []
    faults: list[Exception] = []
    for cell in cells:
        try:
            _plan([cell], matched)
        except Exception as error:
            if not isinstance(error, UserError) and not is_of_a_plugin(error):
                raise
            faults.append(error)
            told = str(error) if isinstance(error, UserError) else f"{describe_error(error)}."
            if len(cells) > 1:
                console.print(f"Cannot run: {cell.title}: {told}", soft_wrap=True, markup=False)
        else:
            usable.append(cell)
    if faults and not usable:
        raise faults[0]
    return usable


def _device(cell: CellConfig) -> torch.device | None:
    """Return where cells will run, or ``None`` if that is not here."""
    return (
        None
        if cell.run.device == "cuda" and not torch.cuda.is_available()
        else choose_device(cell.run.device)
    )


def _probed(cells: Sequence[CellConfig], faults: Sequence[UserError | None]) -> list[Probe | None]:
    """Return what cells take, of those that are estimated to fit: others might take all memory there is."""
    run = cells[0].run
    shared = usable_cores() // at_once(run, len(cells)) or 1
    threads = run.threads if run.executor == "inline" else run.threads or shared
    fitting = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
    taken = iter(probe_cells(fitting, threads))
    return [None if fault is not None else next(taken) for fault in faults]


def _starved(cell: CellConfig) -> UserError:
    return UserError(
        f"{cell.title}: the process that tried its first steps ended for want of memory, or was killed; "
        "choose a smaller train.batch_size, model or sequence."
    )


def _print_time(console: Console, cells: Sequence[CellConfig], found: Sequence[Probe | None]) -> None:
    """Print how long the cells that were tried train in all."""
    parallel = at_once(cells[0].run, len(cells))
    seconds = [one.seconds for one in found if one is not None]
    total = max(max(seconds), sum(seconds) / parallel)
    alone = " in one process" if max(cell.run.nproc for cell in cells) > 1 else ""
    console.print(
        f"Training takes about {duration(total)} in all, {parallel} at a time: from {PROBE_STEPS} steps "
        f"of each{alone}, and without evaluations.",
        soft_wrap=True,
    )


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

"""``seqsuite run``: from settings to trained cells and their table."""

import logging
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from seqsuite.allocator import keep_freed_memory
from seqsuite.commands.progress import ProgressDisplay
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.grid import check_cells, parameter_counts, run_grid
from seqsuite.experiments.interruption import Interrupted
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import StoreReader, open_reader
from seqsuite.experiments.tracking.store import Store
from seqsuite.results.collect import collect
from seqsuite.results.figures import loss_curve
from seqsuite.results.formats import print_results

EXIT_DIVERGED, EXIT_INTERRUPTED = 1, 130

_LOOK_NEXT = {
    "seqsuite results": "all results, also as md, csv, json, latex or a figure",
    "seqsuite generate latest": "a sample from the newest model",
    "seqsuite ui": "curves, checkpoints and samples in MLflow",
}


def run_settings(settings: Sequence[str], *, dry_run: bool, force: bool) -> int:
    """Run the grid that the settings span; return the exit status."""
    console = Console(highlight=False)
    cells = [resolve(overrides) for overrides in expand_grid(settings)]
    if dry_run:
        _print_plan(console, cells)
        return 0
    _show_notices(console)
    check_cells(cells)
    keep_freed_memory()  # a step makes the tensors of the step before
    try:
        results = run_grid(
            cells,
            lambda config, start: ProgressDisplay(console, config, start),
            lambda store, result: _report(console, store, result),
            force=force,
        )
    except Interrupted:
        command = shlex.join(["seqsuite", "run", *settings])
        console.print(f"Stopped; the work so far is saved. Go on with: {command}", soft_wrap=True)
        return EXIT_INTERRUPTED
    if any(result.outcome in ("finished", "skipped") for result in results):
        _print_summary(console, cells)
    return EXIT_DIVERGED if any(result.outcome == "diverged" for result in results) else 0


def _show_notices(console: Console) -> None:
    """Show what seqsuite logs, such as that samples are being rendered for the first time."""
    logger = logging.getLogger("seqsuite")
    logger.setLevel(logging.INFO)
    logger.handlers = [RichHandler(console=console, show_time=False, show_level=False, show_path=False)]


def _print_plan(console: Console, cells: Sequence[CellConfig]) -> None:
    """Print the cells without running them; the backbone only if not all have the usual one."""
    backbones = {cell.model.backbone.name for cell in cells} != {"isotropic"}
    table = Table(title=f"{len(cells)} cells; nothing is run", title_justify="left")
    table.add_column("cell", overflow="fold")
    for column in ["backbone"] * backbones + ["block", "mixer"]:
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "steps", "batch size"):
        table.add_column(column, justify="right")
    for cell, parameters in zip(cells, parameter_counts(cells), strict=True):
        table.add_row(
            cell.title,
            *([cell.model.backbone.name] if backbones else []),
            cell.model.block.name,
            cell.model.mixer.name,
            f"{parameters:,}",
            f"{cell.train.steps:,}",
            f"{cell.train.batch_size:,}",
        )
    console.print(table)


def _print_summary(console: Console, cells: Sequence[CellConfig]) -> None:
    """Print the table of the tasks, models and scales that were run, and where to look next."""
    found = collect(
        open_reader(cells[0].run.experiment),
        tasks={cell.task.name for cell in cells},
        models={cell.model.name for cell in cells},
        scales={cell.scale for cell in cells},
    )
    print_results(found)
    console.print("Look next:", style="bold")
    for command, purpose in _LOOK_NEXT.items():
        console.print(f"  {command:<28}{purpose}", soft_wrap=True)


def _report(console: Console, store: Store, result: CellResult) -> None:
    """Say what became of a cell; draw the loss curve of one that has just finished."""
    title = result.config.title
    if result.outcome == "finished":
        with tempfile.TemporaryDirectory() as folder:
            store.artifact(result.run_id, loss_curve(StoreReader(store), result.run_id, Path(folder)))
        seconds = store.get(result.run_id).metrics[schema.TRAIN_SECONDS]
        console.print(f"{title}: trained for {seconds:.0f} s (run {result.run_id[:8]})")
        if result.message:
            console.print(f"  sample: {result.message!r}", markup=False, soft_wrap=True)
    elif result.outcome == "skipped":
        console.print(f"{title}: finished before (run {result.run_id[:8]}); --force runs it again")
    elif result.outcome == "busy":
        console.print(f"{title}: left to the process that is running it (run {result.run_id[:8]})")
    else:
        console.print(f"[bold]{title}: stopped:[/bold] {result.message}", soft_wrap=True)

"""``seqsuite run``: from settings to trained cells and their table."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from seqsuite.allocator import keep_freed_memory
from seqsuite.commands.progress import ProgressDisplay
from seqsuite.experiments.cell import CellResult, Host
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.grid import check_cells, parameter_counts, run_grid
from seqsuite.experiments.interruption import Interrupted, deferred_interrupts
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import CellRun, Store, flatten, open_store
from seqsuite.results.figures import loss_curve
from seqsuite.results.formats import print_results
from seqsuite.results.table import collect

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

_LOOK_NEXT = {
    "seqsuite results": "all results, also as md, csv, json, latex or a figure",
    "seqsuite generate latest": "a sample from the newest model",
    "seqsuite ui": "curves, checkpoints and samples in MLflow",
}


def run_settings(
    settings: Sequence[str], *, dry_run: bool, force: bool, takeover: bool = False, offline: bool = False
) -> int:
    """Run the grid that the settings span; return the exit status."""
    console = Console(highlight=False)
    cells = [resolve(overrides) for overrides in expand_grid(settings)]
    if dry_run:
        _print_plan(console, cells)
        return 0
    _show_notices(console)
    faults = check_cells(cells)
    keep_freed_memory()  # a step makes the tensors of the step before
    store = None if offline else open_store(cells[0].run.experiment)
    if store is not None:
        store.reap_stale()
    try:
        with deferred_interrupts() as interruption:
            host = Host(
                store=store,
                make_display=lambda config, task, start: ProgressDisplay(console, config, start),
                illustrate=draw_curves,
                interruption=interruption,
                force=force,
                takeover=takeover,
            )
            results = run_grid(cells, host, lambda result: _report(console, result), faults)
    except Interrupted:
        command = shlex.join(["seqsuite", "run", *settings])
        console.print(f"Stopped; the work so far is saved. Go on with: {command}", soft_wrap=True)
        return EXIT_INTERRUPTED
    if store is not None and any(result.outcome in ("finished", "skipped") for result in results):
        _print_summary(console, store, cells)
    unsent = sum(result.unsent for result in results)
    if unsent and not offline:
        console.print(f"MLflow has not taken {unsent} events yet: send them with `seqsuite sync`.")
        return EXIT_FAILED
    return 0 if all(result.outcome in ("finished", "skipped") for result in results) else EXIT_FAILED


def draw_curves(journal: Journal, folder: Path) -> Path:
    """Draw a cell's loss curve from its journal into a folder."""
    header = journal.header
    assert header is not None
    metrics = {
        name: points[-1][1]
        for name in (schema.BASELINE_VALIDATION + header.tags[schema.TAG_METRIC],)
        if (points := journal.series(name))
    }
    cell = CellRun(
        run_id=journal.run_id or "",
        name=header.name,
        status="FINISHED",
        params=flatten(header.params),
        metrics=metrics,
        tags=header.tags,
        start_time=0.0,
    )
    return loss_curve(cell, journal.series, folder)


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


def _print_summary(console: Console, store: Store, cells: Sequence[CellConfig]) -> None:
    """Print the table of the tasks, models and scales that were run, and where to look next."""
    found = collect(
        store,
        tasks={cell.task.name for cell in cells},
        models={cell.model.name for cell in cells},
        scales={cell.scale for cell in cells},
    )
    print_results(found)
    console.print("Look next:", style="bold")
    for command, purpose in _LOOK_NEXT.items():
        console.print(f"  {command:<28}{purpose}", soft_wrap=True)


def _report(console: Console, result: CellResult) -> None:
    """Say what became of a cell."""
    title, run = result.config.title, f"(run {result.run_id[:8]})" if result.run_id else ""
    if result.outcome == "finished":
        seconds = result.metrics[schema.TRAIN_SECONDS]
        console.print(f"{title}: trained for {seconds:.0f} s {run}", soft_wrap=True)
        if result.message:
            console.print(f"  sample: {result.message!r}", markup=False, soft_wrap=True)
    elif result.outcome == "skipped":
        console.print(f"{title}: finished before {run}; --force runs it again", soft_wrap=True)
    else:
        console.print(f"[bold]{title}: {result.outcome}:[/bold] {escape(result.message)}", soft_wrap=True)

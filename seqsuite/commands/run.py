"""``seqsuite run``: from settings to trained cells and their table."""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from seqsuite.api import run_cells
from seqsuite.commands.console import make_console
from seqsuite.commands.group import EXIT_INTERRUPTED
from seqsuite.commands.live import LiveTable
from seqsuite.commands.plan import check_probe, print_plan, tell_busy, tell_defaults, tell_left_out
from seqsuite.commands.progress import GridProgress, ProgressDisplay, count, metric_text
from seqsuite.errors import UserError
from seqsuite.experiments.cell import GOOD, CellResult
from seqsuite.experiments.config.grid import is_matched, resolve_grid, with_widths
from seqsuite.experiments.config.overrides import Overrides, parse_arguments, span
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.config.settings_file import read_settings, to_toml
from seqsuite.experiments.distributed.follow import follow_launcher
from seqsuite.experiments.distributed.team import dismiss, launched_rank
from seqsuite.experiments.interruption import Interrupted
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import open_reader
from seqsuite.report.format import duration
from seqsuite.results.collect import collect
from seqsuite.results.formats import print_results
from seqsuite.tasks.base import Task

EXIT_FAILED = 1

_LOOK_NEXT = {
    "seqsuite results": "all results, also as md, csv, json, latex or a figure",
    "seqsuite runs": "every run; `seqsuite runs show NAME` has its settings and curves",
    "seqsuite generate latest": "a sample from the newest model",
    "seqsuite ui": "curves, checkpoints and samples in MLflow",
}


def run_settings(
    settings: Sequence[str],
    *,
    dry_run: bool,
    force: bool,
    takeover: bool = False,
    offline: bool = False,
    retry_failed: bool = False,
    probe: bool = False,
    file: Path | None = None,
    zipped: bool = False,
    print_config: bool = False,
) -> int:
    """Run the grid that settings span; return the exit status.

    Args:
        settings: ``key=value`` arguments.
        dry_run: Whether to show the cells only.
        force: Whether to start afresh what is finished or was interrupted.
        takeover: Whether to take cells over from processes that seem to run them.
        offline: Whether to keep what is recorded in files, for ``seqsuite sync`` to send.
        retry_failed: Whether to run only what failed or diverged before.
        probe: Whether a dry run takes a few steps of each cell.
        file: TOML file of settings that those are over.
        zipped: Whether the n-th values of all keys belong together, in place of the product.
        print_config: Whether to print the one cell as such a file only.

    Raises:
        UserError: if a setting, the data, the folder, the device or the store cannot be used.
    """
    base, grid = _grid(settings, file, zipped)
    if print_config:
        if len(grid) > 1:
            raise UserError(
                f"--print-config prints one cell, and these are {len(grid)}: give each key one value."
            )
        (cell, *_), base = with_widths(grid, base)
        sys.stdout.write(to_toml(resolve(cell, base)))
        return 0
    cells = resolve_grid(grid, base)
    check_probe(probe, dry_run)
    if not dry_run and launched_rank() is not None:
        if len(cells) > 1:
            raise UserError(
                f"torchrun starts the processes of one cell, and these are {len(cells)}: use run.nproc "
                "for a grid."
            )
        if launched_rank():
            follow_launcher()
            return 0
    console = make_console()
    if dry_run:
        print_plan(console, cells, probe=probe, matched=is_matched(grid, base))
        return 0
    again = _command(settings, file, zipped, offline)
    results = run_shown(
        console, cells, again, force=force, takeover=takeover, offline=offline, retry_failed=retry_failed
    )
    if results is None:
        return EXIT_INTERRUPTED
    print_failures(console, results)
    if not offline and not _unsent(results) and any(result.outcome in GOOD for result in results):
        _print_summary(console, cells, results)
    return exit_status(console, results, offline)


def run_shown(
    console: Console,
    cells: Sequence[CellConfig],
    again: str,
    *,
    force: bool = False,
    takeover: bool = False,
    offline: bool = False,
    retry_failed: bool = False,
) -> list[CellResult] | None:
    """Run cells with their progress on the console; return ``None`` if the user stopped it.

    Args:
        console: Where to print.
        cells: What to run.
        again: The command that goes on.
        force: See :func:`run_settings`; likewise the others.
        takeover: See ``force``.
        offline: See ``force``.
        retry_failed: See ``force``.

    Raises:
        UserError: if no cell can run.
    """
    _show_notices(console)
    tell_defaults(console, cells)
    tell_left_out(console, cells)
    tell_busy(console, cells)
    progress = GridProgress(cells)
    # Where one cell runs at a time, its own display says more.
    live = LiveTable(console, cells if cells[0].run.executor != "inline" else ())

    def after_cell(result: CellResult) -> None:
        live.ended(result)
        _report(console, result, progress)

    try:
        with live:
            return run_cells(
                cells,
                force=force,
                takeover=takeover,
                offline=offline,
                retry_failed=retry_failed,
                display=_Displays(console, progress),
                after_cell=after_cell,
            )
    except Interrupted:
        console.print(f"Stopped; the work so far is saved. Go on with: {again}", soft_wrap=True)
        return None
    finally:
        dismiss()


def exit_status(console: Console, results: Sequence[CellResult], offline: bool) -> int:
    """Return a command's exit status after its cells, and say what MLflow has not taken."""
    unsent = _unsent(results)
    if unsent and not offline:
        console.print(f"MLflow has not taken {unsent} events yet: send them with `seqsuite sync`.")
        return EXIT_FAILED
    return 0 if all(result.outcome in GOOD for result in results) else EXIT_FAILED


def _unsent(results: Sequence[CellResult]) -> int:
    return sum(result.unsent for result in results)


def _grid(settings: Sequence[str], file: Path | None, zipped: bool) -> tuple[Overrides, list[Overrides]]:
    """Return the settings of a file, and those of each cell over them."""
    base: Overrides = {}
    values = parse_arguments(settings)
    if file is not None:
        base, grid = read_settings(file)
        values = grid | values
    return base, span(values, zipped=zipped)


def _command(settings: Sequence[str], file: Path | None, zipped: bool, offline: bool) -> str:
    """Return the command that runs the same cells."""
    options = ["--config", str(file)] if file is not None else []
    options += ["--zip"] * zipped + ["--offline"] * offline
    return shlex.join(["seqsuite", "run", *settings, *options])


class _Notices(logging.Handler):
    """Shows what seqsuite logs, such as that samples are being rendered for the first time, each once."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console, self._shown = console, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a notice that is new."""
        message = record.getMessage()
        if message not in self._shown:
            self._shown.add(message)
            self._console.print(message, soft_wrap=True)


def _show_notices(console: Console) -> None:
    logger = logging.getLogger("seqsuite")
    logger.setLevel(logging.INFO)
    logger.handlers = [_Notices(console)]


class _Displays:
    """Makes a cell's progress display, and says once for each choice of data what was read."""

    def __init__(self, console: Console, progress: GridProgress) -> None:
        self._console, self._progress, self._told = console, progress, set[str]()

    def __call__(self, config: CellConfig, task: Task, start: int) -> ProgressDisplay:
        """Return the display of a cell that starts at a step."""
        told = task.describe()
        if told is not None and told not in self._told:
            self._told.add(told)
            self._console.print(f"{config.task.name}: {told}", soft_wrap=True, markup=False)
        return ProgressDisplay(self._console, config, start, self._progress.place(config))


def print_failures(console: Console, results: Sequence[CellResult]) -> None:
    """Print, at the end of a grid, which cells did not finish and why."""
    failed = [result for result in results if result.outcome not in GOOD]
    if not failed or len(results) == 1:
        return
    console.print(f"{len(failed)} of {count(len(results), 'cell')} did not finish:", style="bold")
    for result in failed:
        line = f"  {result.config.title}: {result.outcome}: {result.message}"
        console.print(line, soft_wrap=True, markup=False)


def _print_summary(console: Console, cells: Sequence[CellConfig], results: Sequence[CellResult]) -> None:
    """Print the table of the tasks, models and scales that were run, and where to look next."""
    experiment = cells[0].run.experiment
    found = collect(
        open_reader(experiment),
        tasks={cell.task.name for cell in cells},
        models={cell.model.name for cell in cells},
        scales={cell.scale for cell in cells},
    )
    print_results(found)
    console.print("Look next:", style="bold")
    option = "" if experiment == "seqsuite" else f" --experiment {shlex.quote(experiment)}"
    speaks = any(result.outcome == "finished" and result.message for result in results)
    commands = {
        command + option: purpose
        for command, purpose in _LOOK_NEXT.items()
        if speaks or not command.startswith("seqsuite generate")
    }
    width = max(map(len, commands)) + 4
    for command, purpose in commands.items():
        console.print(f"  {command:<{width}}{purpose}", soft_wrap=True)


def _report(console: Console, result: CellResult, progress: GridProgress) -> None:
    """Say what became of a cell."""
    title = f"{progress.place(result.config)}{result.config.title}"
    run = f" (run {result.run_id[:8]})" if result.run_id else ""
    progress.done(result.config, trained=result.outcome in ("finished", "diverged"))
    if result.outcome == "finished":
        lines = [f"{title}: {_score(result)}{run}"]
        if result.message:
            lines.append(f"  sample: {result.message!r}")
    elif result.outcome == "skipped":
        how = f", {result.message}" if result.message else ""
        lines = [f"{title}: finished before{how}{run}; --force runs it again"]
    else:
        lines = [f"{title}: {result.outcome}: {result.message}"]
    if remaining := progress.remaining():
        lines.append(f"  {remaining}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def _score(result: CellResult) -> str:
    """Return the test score of a finished cell, at which step it was tested, and how long it trained."""
    metric = result.config.make_task().metrics[0].name
    step, steps = int(result.metrics[schema.BEST_STEP]), result.config.train.steps
    return (
        f"test {metric_text(metric, result.metrics[schema.TEST + metric])} with step {step} of {steps}, the "
        f"best on validation; trained for {duration(result.metrics[schema.TRAIN_SECONDS])}"
    )

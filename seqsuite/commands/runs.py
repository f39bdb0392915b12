"""``seqsuite runs``: what was run, with what, and what came of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.table import Table

from seqsuite.commands.console import make_console, show
from seqsuite.commands.progress import metric_text
from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader, open_reader
from seqsuite.experiments.tracking.store import CellRun, Store, open_store
from seqsuite.report.format import duration
from seqsuite.results.comparison import ENVIRONMENT, find_run

_BARS = "▁▂▃▄▅▆▇█"
_CURVE = 40  # columns of a curve
_WIDE = 90  # columns of a terminal that has room for times
_CURVES = (schema.TRAIN_LOSS, schema.VALIDATION)


def list_runs(experiment: str) -> None:
    """Print every run of a cell, newest first, with its status, score and age.

    Raises:
        UserError: if there is no store, or nothing in it.
    """
    found = open_reader(experiment).cells()
    if not found:
        raise UserError(f"There are no runs in experiment {experiment!r}: `seqsuite run` makes one.")
    console = make_console()
    table = Table(box=None, pad_edge=False)
    names = ["id", "name", "status", "test", *(["started", "trained"] if console.width >= _WIDE else [])]
    for column in names:
        table.add_column(column, no_wrap=column != "name", overflow="fold")
    for run in found:
        seconds = run.metrics.get(schema.TRAIN_SECONDS)
        trained = "" if seconds is None else duration(seconds)
        status = schema.status_in_words(run.status)
        line = (run.run_id[:8], run.name, status, _score(run), _started(run), trained)
        table.add_row(*line[: len(names)])
    show(console, table)


def show_run(experiment: str, name: str) -> None:
    """Print one run: settings, environment, results, curves and files.

    Raises:
        UserError: if there is none such, or several.
    """
    reader = open_reader(experiment)
    run = find_run(reader, name)
    console = make_console()
    console.print(f"{run.name} (run {run.run_id})", style="bold")
    console.print(f"{schema.status_in_words(run.status)}, started {_started(run)}")
    if run.status == "FAILED" and schema.TAG_FAILURE in run.tags:
        console.print(f"It failed: {run.tags[schema.TAG_FAILURE]}", soft_wrap=True, markup=False)
    _print("settings", run.params)
    known = {name: run.tags[tag] for name, tag in ENVIRONMENT.items() if tag in run.tags}
    _print("environment", known)
    _print("results", {key: f"{value:.6g}" for key, value in run.metrics.items()})
    curves = (key for key in run.metrics if key.startswith(_CURVES))
    _print("curves", {key: _curve(reader, run, key) for key in curves})
    files = _files(open_store(experiment, create=False), run)
    _print("files", {path: f"{size / 1e3:,.1f} kB" for path, size in files})


def find_any(experiment: str, name: str) -> CellRun:
    """Return the run that a name or the beginning of an id stands for, whatever became of it.

    Raises:
        UserError: if there is none such, or several.
    """
    return find_run(open_reader(experiment), name)


def delete_runs(experiment: str, found: Iterable[CellRun]) -> None:
    """Mark runs as deleted.

    Raises:
        UserError: if the store cannot be written.
    """
    store = open_store(experiment, create=False)
    with store.errors():
        for run in found:
            store.client.delete_run(run.run_id)


def _score(run: CellRun) -> str:
    metric = run.tags.get(schema.TAG_METRIC, "")
    value = run.metrics.get(schema.TEST + metric)
    return "" if value is None else metric_text(metric, value)


def _started(run: CellRun) -> str:
    return datetime.fromtimestamp(run.start_time).strftime("%Y-%m-%d %H:%M")


def _print(title: str, lines: Mapping[str, str]) -> None:
    """Print a heading and a line for each name."""
    if not lines:
        return
    console = make_console()
    console.print(f"\n{title}", style="bold")
    width = max(map(len, lines)) + 2
    for name in sorted(lines):
        console.print(f"  {name:<{width}}{lines[name]}", soft_wrap=True)


def _curve(reader: Reader, run: CellRun, key: str) -> str:
    """Return a metric's curve as bars, with its first and its last value."""
    history = reader.history(run.run_id, key)
    values = [value for _, value in history]
    return f"{sparkline(values)}  {values[0]:.4g} → {values[-1]:.4g} at step {history[-1][0]}"


def sparkline(values: Sequence[float], width: int = _CURVE) -> str:
    """Return values as a line of bars, the lowest for the least; what is not finite is a space.

    Args:
        values: In order; more than ``width`` are averaged in as many groups.
        width: Bars at most.
    """
    size = min(width, len(values))
    groups = [values[n * len(values) // size : (n + 1) * len(values) // size] for n in range(size)]
    means = [sum(group) / len(group) for group in groups]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] if math.isfinite(mean) else " " for mean in means)


def _files(store: Store, run: CellRun, folder: str | None = None) -> list[tuple[str, int]]:
    """Return the run's files with their sizes in bytes."""
    with store.errors():
        entries = store.client.list_artifacts(run.run_id, folder)
    files: list[tuple[str, int]] = []
    for entry in entries:
        files += _files(store, run, entry.path) if entry.is_dir else [(entry.path, entry.file_size or 0)]
    return files

"""What MLflow's pages show of a finished run: its description, and results as words in columns."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path

from seqsuite.experiments.config.grid import short_keys
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import CellRun, flatten
from seqsuite.report.format import show
from seqsuite.results.collect import baselines_of, metric_of
from seqsuite.results.departures import departures, model_label, of_model
from seqsuite.results.figures import loss_curve
from seqsuite.results.table import MetricInfo, labelled

_FAR = 1e9  # from zero: no score is as large
_COMMANDED = ("task.name", "model.name", "scale", "seed")


def illustrate(journal: Journal, folder: Path) -> Path:
    """Journal what :func:`columns` and :func:`description` say of an ended cell; draw its curves."""
    cell = _ended(journal)
    journal.tags(columns(cell) | {schema.TAG_NOTE: description(cell)})
    return loss_curve(cell, journal.series, folder)


def columns(cell: CellRun) -> dict[str, str]:
    """Return a finished cell's model, size, score and speed as words, by tag, and by what it is sorted."""
    metric = metric_of(cell)
    found = {
        schema.TAG_LABEL: _short_label(cell.params),
        schema.TAG_SCORE: _score(cell.metrics.get(schema.TEST + metric.name), metric),
        schema.TAG_ORDER: _order(cell, metric),
        schema.TAG_SIZE: show(cell.metrics.get(schema.PARAMETERS), "quantity"),
        schema.TAG_RATE: show(cell.metrics.get(schema.TOKENS_PER_SECOND), "quantity"),
    }
    return {tag: text for tag, text in found.items() if text}


def description(cell: CellRun) -> str:
    """Return a finished cell's results, its command and where its sample is, in Markdown."""
    metric = metric_of(cell)
    words = metric.name.replace("_", " ")
    baselines = baselines_of([cell], schema.BASELINE, metric.name)
    rows = [
        ("Model", model_label(cell.params)),
        ("Parameters", show(cell.metrics.get(schema.PARAMETERS), "quantity")),
        (f"Test {words}", _with_unit(cell.metrics.get(schema.TEST + metric.name), metric)),
        (f"Best validation {words}", _with_unit(cell.metrics.get(schema.BEST + metric.name), metric)),
        *((f"Baseline: {name}", _with_unit(value, metric)) for name, value in baselines.items()),
        ("Step of the model", show(int(cell.metrics.get(schema.BEST_STEP, 0)), "count")),
        ("Trained for", show(cell.metrics.get(schema.TRAIN_SECONDS), "seconds")),
        ("Tokens a second", show(cell.metrics.get(schema.TOKENS_PER_SECOND), "quantity")),
        ("Data", f"`{cell.tags.get(schema.TAG_DATA, '')}`"),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows)
    return f"| | |\n|---|---|\n{table}\n\n```sh\n{_command(cell)}\n```\n"


def _short_label(params: Mapping[str, str]) -> str:
    """Return a model's label with the last words of its settings, which is what a column has room for."""
    changed = of_model(departures(params))
    keys = short_keys([key.removesuffix(".name") for key in changed])
    return labelled(params.get("model.name", "?"), dict(zip(keys, changed.values(), strict=True)))


def _command(cell: CellRun) -> str:
    """Return a command that trains the same cell: names, and what is not as they set it."""
    named = {key: cell.params[key] for key in _COMMANDED if key in cell.params}
    other = {key: value for key, value in (departures(cell.params) or {}).items() if key not in named}
    settings = (f"{key.removesuffix('.name')}={value}" for key, value in {**named, **other}.items())
    return " ".join(["seqsuite run", *map(shlex.quote, settings)])


def _with_unit(value: float | None, metric: MetricInfo) -> str:
    return f"{show(value, 'number', metric.digits)} {metric.unit}".rstrip()


def _score(value: float | None, metric: MetricInfo) -> str:
    """Return a score with its unit, or where it has none its name: ``1.946 bits``, ``12.65 perplexity``."""
    text = _with_unit(value, metric)
    return text if metric.unit else f"{text} {metric.name.replace('_', ' ')}"


def _order(cell: CellRun, metric: MetricInfo) -> str:
    """Return a text by which runs are sorted by task and scale, and in those by their score, best first."""
    value = cell.metrics.get(schema.TEST + metric.name, math.inf)
    place = -value if metric.higher_is_better else value
    known = math.isfinite(place) and abs(place) < _FAR
    text = f"{_FAR + place:019.6f}" if known else "last"
    return f"{cell.tags.get(schema.TAG_TASK, '')} {cell.tags.get(schema.TAG_SCALE, '')} {text}"


def _ended(journal: Journal) -> CellRun:
    """Return the run that a journal records, with its last values."""
    header = journal.header
    assert header is not None, "a cell that has ended has started"
    return CellRun(
        run_id=journal.run_id or "",
        name=header.name,
        status="FINISHED",
        params=flatten(header.params),
        metrics=journal.last_values(),
        tags=header.tags,
        start_time=0.0,
    )

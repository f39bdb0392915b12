"""Pictures of results: one cell's learning curve, and models compared while and after they learn."""

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.connection import store_errors
from seqsuite.experiments.tracking.store import CellRun, Store
from seqsuite.results.formats import mean_and_spread, metric_label, number, options_text
from seqsuite.results.table import LARGEST, Results, Section

# From the palette of Okabe and Ito, which is told apart with any colour vision.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#555555"
_COLOURS = (_BLUE, _ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DPI = 150
_LABEL_WIDTH = 24
_ROW_INCHES, _LEAST_ROWS = 0.42, 6
_SMOOTHING = 50
"""The training loss is averaged over a window of this fraction of the run: one part in fifty."""

Floats = npt.NDArray[np.float64]
Series = Callable[[str], Sequence[tuple[int, float]]]
"""Steps and values of a metric by its name."""


def loss_curve(cell: CellRun, series: Series, folder: Path) -> Path:
    """Draw a cell's training and validation loss in bits, and its metric if that is another.

    The trivial baseline is a line in the plot of the task's metric.

    Args:
        cell: The cell's tags, parameters and last metrics.
        series: Gives steps and values of a metric, in order.
        folder: Where to write ``loss_curve.png``; created if missing.

    Raises:
        UserError: if the folder cannot be written.
    """
    metric = cell.tags[schema.TAG_METRIC]
    in_bits = metric.startswith("bits_per_")
    figure = Figure(figsize=(7, 4 if in_bits else 6), layout="constrained")
    upper = figure.subplots() if in_bits else figure.subplots(2, 1, sharex=True)[0]

    steps, loss = _arrays(series(schema.TRAIN_LOSS))
    upper.plot(steps, loss / math.log(2), color=_BLUE, alpha=0.25, linewidth=0.8)
    upper.plot(*_smooth(steps, loss / math.log(2)), color=_BLUE, label="training")
    validated, validation = _arrays(series(schema.VALIDATION_LOSS))
    upper.plot(validated, validation / math.log(2), "o-", color=_ORANGE, markersize=4, label="validation")
    upper.set_ylabel(metric_label(metric) if in_bits else "loss (bits per target)")
    lower = figure.axes[-1]
    if not in_bits:
        measured, values = _arrays(series(schema.VALIDATION + metric))
        lower.plot(measured, values, "o-", color=_ORANGE, markersize=4, label="validation")
        lower.set_ylabel(metric_label(metric))
    _draw_baseline(lower, cell, metric)
    lower.set_xlabel("step")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(_title(cell))
    return _save(figure, folder / "loss_curve.png")


def compare(store: Store, results: Results, folder: Path) -> Path:
    """Draw for every section how its models learn (a line a seed), and what they reach, best on top.

    Args:
        store: Where the runs are recorded.
        results: What to draw, from :func:`~seqsuite.results.table.collect`.
        folder: Where to write ``compare.png``; created if missing.

    Raises:
        UserError: if a run cannot be read or the folder cannot be written.
    """
    heights = [max(len(section.rows), _LEAST_ROWS) + 2 for section in results.sections]
    figure = Figure(figsize=(11, _ROW_INCHES * sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    for (left, right), section in zip(panels, results.sections, strict=True):
        colours = [_COLOURS[place % len(_COLOURS)] for place in range(len(section.rows))]
        _draw_learning(left, store, section, colours)
        _draw_ranking(right, section, colours)
        _draw_baselines(left, right, section)
    return _save(figure, folder / "compare.png")


def _draw_learning(axes: Axes, store: Store, section: Section, colours: Sequence[str]) -> None:
    """Draw the validation metric by step."""
    for row, colour in zip(section.rows, colours, strict=True):
        for run_id in row.run_ids:
            steps, values = _history(store, run_id, schema.VALIDATION + section.metric)
            axes.plot(steps, values, ".-", color=colour, linewidth=1, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel(f"validation {metric_label(section.metric)}")
    axes.set_title(f"{section.task}, scale={section.scale}", loc="left", fontsize=10)
    axes.grid(alpha=0.3)


def _draw_ranking(axes: Axes, section: Section, colours: Sequence[str]) -> None:
    """Draw the rows as points on the test set, with their spread over seeds."""
    for place, (row, colour) in enumerate(zip(section.rows, colours, strict=True)):
        if not math.isfinite(row.mean):
            continue
        axes.plot(list(row.values.values()), [place] * len(row.values), ".", color=colour, alpha=0.4)
        axes.errorbar(row.mean, place, xerr=row.spread, fmt="o", color=colour, capsize=4)
        text = mean_and_spread(row, section.metric)
        axes.annotate(text, (row.mean, place), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    labels = [
        "\n".join([row.model, *textwrap.wrap(options_text(row, section), _LABEL_WIDTH)])
        for row in section.rows
    ]
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    axes.set_ylim(len(section.rows) - 0.4, -0.8)
    axes.margins(x=0.15)
    arrow = "→ better" if section.higher_is_better else "← better"
    axes.set_xlabel(f"test {metric_label(section.metric)} ({arrow})")
    axes.grid(axis="x", alpha=0.3)


def _draw_baselines(learning: Axes, ranking: Axes, section: Section) -> None:
    """Draw what a trivial predictor reaches on the test set, beside the ranking and named there."""
    baselines = {row.baseline for row in section.rows if row.baseline}
    for name, value in baselines:
        learning.axhline(value, color=_GREY, linestyle="--", linewidth=1)
        text = f"{name}: {number(value, section.metric)}"
        ranking.axvline(value, color=_GREY, linestyle="--", linewidth=1, label=text)
    if baselines:
        ranking.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)


def _history(store: Store, run_id: str, metric: str) -> tuple[Floats, Floats]:
    """Return steps and values in order; of several values at a step, as a resumed run has, the last."""
    with store_errors(f"Cannot read run {run_id!r}"):
        points = store.client.get_metric_history(run_id, metric)
    by_step = {
        point.step: math.inf if point.value > LARGEST else point.value
        for point in sorted(points, key=lambda point: (point.step, point.timestamp))
    }
    return np.array(list(by_step), dtype=np.float64), np.array(list(by_step.values()), dtype=np.float64)


def _arrays(points: Sequence[tuple[int, float]]) -> tuple[Floats, Floats]:
    steps, values = zip(*points, strict=True) if points else ((), ())
    return np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64)


def _smooth(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return a moving average, placed at the middle of its window."""
    width = max(1, len(values) // _SMOOTHING)
    window = np.full(width, 1 / width)
    return np.convolve(steps, window, mode="valid"), np.convolve(values, window, mode="valid")


def _draw_baseline(axes: Axes, cell: CellRun, metric: str) -> None:
    value = cell.metrics.get(schema.BASELINE_VALIDATION + metric)
    if value is not None:
        name = cell.tags.get(schema.TAG_BASELINE, "baseline")
        axes.axhline(
            value, color=_GREY, linestyle="--", linewidth=1, label=f"{name}: {number(value, metric)}"
        )


def _title(cell: CellRun) -> str:
    names = {"task": schema.TAG_TASK, "model": schema.TAG_MODEL, "scale": schema.TAG_SCALE}
    steps = cell.params.get("train.steps", "?")
    parts = [f"{key}={cell.tags.get(tag)}" for key, tag in names.items()]
    return " ".join([*parts, f"train.steps={steps}", f"seed={cell.tags.get(schema.TAG_SEED)}"])


def _save(figure: Figure, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise UserError(f"The picture {path} cannot be written: {error.strerror}.") from error
    return path

"""Pictures of results: one cell's learning curve, and models compared while and after they learn."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.pictures import COLOURS, GREY, Look, PictureFile, save_picture
from seqsuite.results.collect import baselines_of, metric_of
from seqsuite.results.departures import model_label
from seqsuite.results.formats import mean_and_spread, options_text
from seqsuite.results.looks import looks
from seqsuite.results.table import SMOKE, MetricInfo, Results, Row, Section

_BLUE, _ORANGE = COLOURS[:2]
_BASELINE_STYLES = ("--", ":", "-.")
_LABEL_WIDTH = 28
_ROW_INCHES, _LEAST_ROWS = 0.42, 6
_LINE_INCHES = 0.15
"""Of a label at the ranking."""
_AROUND_INCHES = 1.0
"""Of what is above and below a panel."""
_LEGEND_COLUMNS, _LEGEND_POINTS = 2, 13
"""Points of a line of the legend between a panel and its title."""
_FAR = 2.0
"""A baseline stretches the axis to its side by at most this many times what the rest takes."""
_LEAST_SHARE = 0.1
"""Of its values, which the rest is taken to take at least: the width of few or equal points says nothing."""
_SMOOTHING = 50
"""The training loss is averaged over a window of this fraction of the run: one part in fifty."""

Floats = npt.NDArray[np.float64]
Series = Callable[[str], Sequence[tuple[int, float]]]
"""Steps and values of a metric by its name."""


def loss_curve(cell: CellRun, series: Series, folder: Path) -> Path:
    """Write a cell's :func:`loss_figure` to ``loss_curve.png`` in ``folder``, which is created if missing.

    Raises:
        UserError: if the folder cannot be written.
    """
    return save_picture(loss_figure(cell, series), PictureFile(folder / "loss_curve.png"))


def compare(reader: Reader, results: Results, file: PictureFile) -> Path:
    """Write the :func:`comparison` of results to a file.

    Raises:
        UserError: if a run cannot be read or the picture cannot be written.
    """
    return save_picture(comparison(reader, results), file)


def loss_figure(cell: CellRun, series: Series) -> Figure:
    """Draw a cell's training and validation loss in bits, and its metric if that is another.

    What trivial predictors reach on the validation set are lines in the plot of the task's metric.

    Args:
        cell: The cell's tags, settings and last metrics.
        series: Gives steps and values of a metric, in order; none of one that was not recorded.
    """
    metric = metric_of(cell)
    in_bits = metric.name.startswith("bits_per_")
    figure = Figure(figsize=(7, 4 if in_bits else 6), layout="constrained")
    upper = figure.subplots() if in_bits else figure.subplots(2, 1, sharex=True)[0]

    steps, loss = _arrays(series(schema.TRAIN_LOSS))
    upper.plot(steps, loss / math.log(2), color=_BLUE, alpha=0.25, linewidth=0.8)
    upper.plot(*_smooth(steps, loss / math.log(2)), color=_BLUE, label="training")
    validated, validation = _arrays(series(schema.VALIDATION_LOSS))
    upper.plot(validated, validation / math.log(2), "o-", color=_ORANGE, markersize=4, label="validation")
    upper.set_ylabel(metric.label if in_bits else "loss (bits per target)")
    lower = figure.axes[-1]
    if not in_bits:
        measured, values = _arrays(series(schema.VALIDATION + metric.name))
        lower.plot(measured, values, "o-", color=_ORANGE, markersize=4, label="validation")
        lower.set_ylabel(metric.label)
    baselines = baselines_of([cell], schema.BASELINE_VALIDATION, metric.name)
    draw_baselines(lower, "y", baselines, metric)
    lower.set_xlabel("step")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(_title(cell))
    return figure


def comparison(reader: Reader, results: Results) -> Figure:
    """Draw for every section how its models learn, and what they reach, best on top.

    The left panel has the mean over the seeds, in a band from the least to the largest where there are
    several, and the baselines on the validation set, or the training loss where no model was scored twice
    in training; the right one scores and baselines on the test set. The names are at the right one alone,
    whose points look like the curves.
    """
    learned = [_Learned.read(reader, section) for section in results.sections]
    heights = [_height(section) for section in results.sections]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    for (left, right), section, curves in zip(panels, results.sections, learned, strict=True):
        _draw_learning(left, section, curves)
        _draw_ranking(right, section)
    if any(section.scale == "smoke" for section in results.sections):
        figure.supxlabel(SMOKE, fontsize=9)
    return figure


def _height(section: Section) -> float:
    """Return how many inches a section needs, for its labels not to touch."""
    lines = [_tick(row, section).count("\n") + 1 for row in section.rows]
    most = max(((one + other) / 2 for one, other in pairwise(lines)), default=1.0)
    rows = max(_ROW_INCHES, _LINE_INCHES * (most + 1)) * len(lines)
    return _AROUND_INCHES + max(rows, _ROW_INCHES * _LEAST_ROWS)


class _Learned(NamedTuple):
    """What is seen of how a section's rows learned.

    Attributes:
        validated: Whether it is the validation metric, which some row has at two steps; else it is the
            training loss in bits, smoothed.
        curves: Of each row the steps (S,) and values (seeds, S).
    """

    validated: bool
    curves: list[tuple[Floats, Floats]]

    @classmethod
    def read(cls, reader: Reader, section: Section) -> "_Learned":
        curves = [_by_seed(reader, row, schema.VALIDATION + section.metric.name) for row in section.rows]
        if any(len(steps) > 1 for steps, _ in curves):
            return cls(True, curves)
        losses = [_by_seed(reader, row, schema.TRAIN_LOSS) for row in section.rows]
        return cls(False, [_smooth_all(steps, values / math.log(2)) for steps, values in losses])


def _draw_learning(axes: Axes, section: Section, learned: _Learned) -> None:
    """Draw how the rows learned, a line a row."""
    for row, style, (steps, values) in zip(section.rows, _looks(section), learned.curves, strict=True):
        if not len(steps):
            continue
        axes.plot(
            steps,
            values.mean(axis=0),
            marker=style.marker,
            markevery=1 if learned.validated else 0.1,
            linestyle=style.dashes,
            color=style.colour,
            linewidth=1,
            markersize=4,
            # The ranking has no point of what has no score.
            label=None if math.isfinite(row.score.mean) else _wrapped(row.label),
        )
        if len(values) > 1:
            lowest, highest = values.min(axis=0), values.max(axis=0)
            axes.fill_between(steps, lowest, highest, color=style.colour, alpha=0.15, linewidth=0)
    if learned.validated:
        draw_baselines(axes, "y", section.validation_baselines, section.metric)
    axes.set_xlabel("step")
    axes.set_ylabel(
        f"validation {section.metric.label}" if learned.validated else "training loss (bits per target)"
    )
    axes.grid(alpha=0.3)
    told = axes.get_legend_handles_labels()[1]
    lines = 0
    if told:  # above the panel, whose curves leave no corner free
        axes.legend(
            frameon=False,
            fontsize=8,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=_LEGEND_COLUMNS,
            borderpad=0,
            borderaxespad=0.5,
        )
        lines = math.ceil(len(told) / _LEGEND_COLUMNS) * max(label.count("\n") + 1 for label in told)
    axes.set_title(section.title, loc="left", fontsize=10, pad=6 + _LEGEND_POINTS * lines)


def _looks(section: Section) -> list[Look]:
    return looks([row.label for row in section.rows])


def _by_seed(reader: Reader, row: Row, metric: str) -> tuple[Floats, Floats]:
    """Return the steps (S,) that all seeds have, and the metric there (seeds, S)."""
    histories = [dict(reader.history(run_id, metric)) for run_id in row.run_ids]
    steps = sorted(set.intersection(*map(set, histories)))
    values = [[history[step] for step in steps] for history in histories]
    return np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64)


def _draw_ranking(axes: Axes, section: Section) -> None:
    """Draw the rows as points on the test set, bars from the least seed to the largest, and the paper's."""
    metric = section.metric
    published = False
    styles = _looks(section)
    for place, (row, style) in enumerate(zip(section.rows, styles, strict=True)):
        paper = row.paper.get(metric.name)
        if paper is not None:
            label = None if published else "paper, at its budget"
            axes.plot(paper.value, place, "D", color=GREY, markerfacecolor="none", markersize=6, label=label)
            published = True
        if not math.isfinite(row.score.mean):
            continue
        axes.plot(list(row.values.values()), [place] * len(row.values), ".", color=style.colour, alpha=0.4)
        values, mean = list(filter(math.isfinite, row.values.values())), row.score.mean
        reach = [[mean - min(values)], [max(values) - mean]] if len(values) > 1 else None
        axes.errorbar(mean, place, xerr=reach, fmt=style.marker, color=style.colour, capsize=4)
        text, where = mean_and_spread(row, metric), (row.score.mean, place)
        axes.annotate(text, where, (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(section.rows)), [_tick(row, section) for row in section.rows], fontsize=9)
    for style, tick in zip(styles, axes.get_yticklabels(), strict=True):
        tick.set_color(style.colour)
    axes.set_ylim(len(section.rows) - 0.4, -0.8)
    axes.margins(x=0.15)
    axes.set_xlabel(f"test {metric.label} ({'→' if metric.higher_is_better else '←'} better)")
    axes.grid(axis="x", alpha=0.3)
    draw_baselines(axes, "x", section.baselines, metric)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4)


def _tick(row: Row, section: Section) -> str:
    texts = (row.label, options_text(row, section))
    return "\n".join(_wrapped(text) for text in texts if text)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _LABEL_WIDTH, break_long_words=False)


def draw_baselines(
    axes: Axes, axis: Literal["x", "y"], baselines: Mapping[str, float], metric: MetricInfo
) -> None:
    """Draw what trivial predictors reach, each named with its value, after the rest has been drawn.

    One so far off that the rest would shrink to a line is named only, with an arrow to where it lies; not of
    a metric in percent, whose whole scale says how large a difference is. What is not finite is left out.
    """
    lowest, highest = (-math.inf, math.inf) if metric.unit == "%" else _within_reach(axes, axis)
    less, more = "←→" if axis == "x" else "↓↑"
    known = [(name, value) for name, value in baselines.items() if math.isfinite(value)]
    for place, (name, value) in enumerate(known):
        style = _BASELINE_STYLES[place % len(_BASELINE_STYLES)]
        label = f"{name}: {metric.show(value)}"
        if lowest <= value <= highest:
            draw = axes.axvline if axis == "x" else axes.axhline
            draw(value, color=GREY, linestyle=style, linewidth=1, label=label)
        else:
            axes.plot([], [], " ", label=f"{label} {less if value < lowest else more}")


def _within_reach(axes: Axes, axis: Literal["x", "y"]) -> tuple[float, float]:
    """Return between which values a line leaves the rest in sight; on logarithmic axes by their ratio."""
    drawn = axes.dataLim.intervalx if axis == "x" else axes.dataLim.intervaly
    if not np.isfinite(drawn).all():
        return -math.inf, math.inf
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    if (axes.get_xscale() if axis == "x" else axes.get_yscale()) == "log":
        ratio = max(high / low, 1 + _LEAST_SHARE) ** _FAR
        return low / ratio, high * ratio
    room = _FAR * max(high - low, _LEAST_SHARE * abs(low + high) / 2)
    return low - room, high + room


def _arrays(points: Sequence[tuple[int, float]]) -> tuple[Floats, Floats]:
    """Return steps (S,) and values (S,)."""
    found = np.array(points, dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _smooth(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return a moving average, placed at the middle of its window."""
    if not len(values):
        return steps, values
    width = max(1, len(values) // _SMOOTHING)
    window = np.full(width, 1 / width)
    return np.convolve(steps, window, mode="valid"), np.convolve(values, window, mode="valid")


def _smooth_all(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return moving averages of each seed's values (seeds, S)."""
    smooth = [_smooth(steps, one)[1] for one in values]
    return _smooth(steps, steps)[0], np.array(smooth)


def _title(cell: CellRun) -> str:
    task, scale, seed = (cell.tags.get(tag) for tag in (schema.TAG_TASK, schema.TAG_SCALE, schema.TAG_SEED))
    steps = cell.params.get("train.steps", "?")
    return f"{task}, {model_label(cell.params)}, scale={scale} train.steps={steps} seed={seed}"

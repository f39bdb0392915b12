"""A study's pictures: lines with the paper's beside them, power laws, and losses at equal compute."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.format import show
from seqsuite.report.pictures import GREY, Look, PictureFile, look, save_picture
from seqsuite.results.collect import baselines_of, metric_of
from seqsuite.results.figures import comparison, draw_baselines
from seqsuite.results.groups import newest
from seqsuite.results.looks import looks
from seqsuite.results.scaling import IsoFlops, frontier, iso_flops
from seqsuite.results.studies.laws import law_of
from seqsuite.results.studies.lines import MEASURES, Line, lines_of, metric_for, published_lines
from seqsuite.results.studies.study import Picture, Study
from seqsuite.results.table import SMOKE, MetricInfo, Results

_COLUMNS, _PANEL_INCHES = 2, (5.4, 4.4)
_LABEL = 0.12
"""How wide a tick's label is at most, as a share of the axis."""
_FEW_TICKS = 7
_FEW_LINES = 4
_ALIKE = 0.05
_SHORT_LABEL = 34
"""Letters of a legend's entry of which two stand side by side below a panel."""
_LEGEND_ROWS, _ROW_INCHES = 6, 0.14
"""Rows of a legend for which a panel has room, and what each further one takes."""
_BESIDE = "hollow: beaten at no more FLOPs, not fitted"

Draw = Callable[[Axes], None]


def draw_study(study: Study, reader: Reader, results: Results, file: PictureFile) -> Path:
    """Write the :func:`study_figure` to ``path``, whose suffix names the form.

    Raises:
        UserError: if it cannot be written.
    """
    return save_picture(study_figure(study, reader, results), file)


def study_figure(study: Study, reader: Reader, results: Results) -> Figure:
    """Draw the pictures that a study declares, a panel each; by default how its models learned.

    Args:
        study: The study.
        reader: Where its runs are, and no others.
        results: The same runs, collected.
    """
    if not study.figures:
        return comparison(reader, results)
    cells = [cell for cell in newest(reader.cells()) if cell.status == "FINISHED"]
    draws = [draw for picture in study.figures for draw in _panels(study, cells, picture)]
    columns = min(_COLUMNS, len(draws))
    rows = math.ceil(len(draws) / columns)
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, draw in zip(panels, draws, strict=False):
        draw(panel)
    further = max(map(_legend_rows, panels)) - _LEGEND_ROWS
    if further > 0:
        figure.set_figheight(figure.get_figheight() + rows * further * _ROW_INCHES)
    for panel in panels[len(draws) :]:
        panel.set_axis_off()
    figure.suptitle(f"{study.title}, scale={cells[0].tags[schema.TAG_SCALE]}", fontsize=11)
    if cells[0].tags[schema.TAG_SCALE] == "smoke":
        figure.supxlabel(SMOKE, fontsize=9)
    return figure


def _panels(study: Study, cells: Sequence[CellRun], picture: Picture) -> list[Draw]:
    """Return what draws each of a picture's panels."""
    try:
        lines = lines_of(cells, picture)
    except UserError as error:
        return [partial(_say, text=f"Nothing to draw: {error}.")]
    metric = metric_for(cells, picture)
    if picture.kind == "isoflops":
        return [partial(_draw_equal_flops, line=line, metric=metric) for line in lines]
    papers = published_lines(study, cells[0].tags[schema.TAG_TASK], metric.name, picture.x)
    baselines = _shared_baselines(cells, metric.name) if metric.name == metric_of(cells[0]).name else {}
    return [
        partial(_draw_lines, picture=picture, lines=lines, papers=papers, metric=metric, baselines=baselines)
    ]


def _draw_lines(
    axes: Axes,
    *,
    picture: Picture,
    lines: Sequence[Line],
    papers: Sequence[Line],
    metric: MetricInfo,
    baselines: dict[str, float],
) -> None:
    for line, style in zip(lines, looks([line.label for line in lines]), strict=True):
        _draw_line(axes, line, style, picture)
        if picture.fit:
            _draw_law(axes, line, style, picture)
    if any(_beaten(line, picture) for line in lines):
        axes.plot([], [], "o", color=GREY, markerfacecolor="none", markersize=5, label=_BESIDE)
    for line, style in zip(
        papers, looks([line.label.removeprefix("paper: ") for line in papers]), strict=True
    ):
        axes.plot(
            [point.x for point in line.points],
            [point.mean for point in line.points],
            marker=style.marker,
            linestyle=":",
            color=GREY,
            markerfacecolor="none",
            markersize=5,
            linewidth=0.8,
            label=line.label,
        )
    places = sorted({point.x for line in [*lines, *papers] for point in line.points})
    if "x" in picture.log:
        _log_x(axes, places)
    if "y" in picture.log:
        _log_y(axes)
    if not picture.fit:  # it is far from what a law is about
        draw_baselines(axes, "y", baselines, metric)
    axes.set_xlabel(picture.label or MEASURES.get(picture.x, picture.x))
    _finish(axes, f"test {metric.label} ({'→' if metric.higher_is_better else '←'} better)")


def _shared_baselines(cells: Sequence[CellRun], metric: str) -> dict[str, float]:
    """Return the usual baseline if it is nearly the same for all: the mean of two chances is nobody's."""
    usual = dict(list(baselines_of(cells, schema.BASELINE, metric).items())[:1])
    each = [baselines_of([cell], schema.BASELINE, metric) for cell in cells]
    return {
        name: mean
        for name, mean in usual.items()
        if all(math.isclose(own.get(name, math.nan), mean, rel_tol=_ALIKE) for own in each)
    }


def _draw_line(axes: Axes, line: Line, style: Look, picture: Picture) -> None:
    """Draw means, with bars from the least to the largest of the seeds; hollow beside a frontier."""
    beaten = _beaten(line, picture)
    for point in line.points:
        spread = [[point.mean - min(point.values)], [max(point.values) - point.mean]]
        axes.errorbar(
            point.x,
            point.mean,
            yerr=spread if len(point.values) > 1 else None,
            marker=style.marker,
            color=style.colour,
            markerfacecolor="none" if point.x in beaten else style.colour,
            markersize=5,
            capsize=2.5,
            elinewidth=0.8,
        )
    if not picture.fit:
        axes.plot(
            [point.x for point in line.points],
            [point.mean for point in line.points],
            marker=style.marker,
            linestyle=style.dashes,
            color=style.colour,
            markersize=5,
            linewidth=1.4,
            label=line.label,
        )


def _beaten(line: Line, picture: Picture) -> set[float]:
    """Return where points are that are not on the frontier, in a picture that has one."""
    if picture.fit != "frontier":
        return set()
    return {point.x for point in line.points} - {run.flops for run in frontier(line.runs)}


def _draw_law(axes: Axes, line: Line, style: Look, picture: Picture) -> None:
    """Draw a line's power law, or say in the legend that there is none."""
    try:
        law = law_of(line, picture)
    except UserError:
        axes.plot([], [], style.marker, color=style.colour, markersize=5, label=f"{line.label}: no law")
        return
    low, high = law.exponent_interval
    across = np.geomspace(line.points[0].x, line.points[-1].x, 100)
    axes.plot(across, law(across), linestyle=style.dashes, color=style.colour, linewidth=1.2)
    floor = f"floor {law.floor:.2f}, " if law.floor else ""
    slope, steepest, flattest = (f"{-x:.3f}".replace("-", "−") for x in (law.exponent, high, low))
    told = f"{line.label}: {floor}exponent {slope} ({steepest} to {flattest})"
    axes.plot(
        [], [], marker=style.marker, linestyle=style.dashes, color=style.colour, markersize=5, label=told
    )


def _draw_equal_flops(axes: Axes, *, line: Line, metric: MetricInfo) -> None:
    """Draw the loss by size at equal operations, with its parabola and the lowest point of that."""
    try:
        curves = iso_flops(line.runs)
    except UserError as error:
        _say(axes, text=f"{line.label}: {error}.")
        return
    for place, curve in enumerate(curves):
        style = look(place)
        axes.plot(
            curve.parameters,
            curve.losses,
            marker=style.marker,
            color=style.colour,
            linestyle="none",
            markersize=5,
        )
        across = np.geomspace(curve.parameters[0], curve.parameters[-1], 100)
        axes.plot(across, curve(across), color=style.colour, linestyle=style.dashes, linewidth=1.0)
        axes.plot(
            [],
            [],
            marker=style.marker,
            color=style.colour,
            linestyle=style.dashes,
            markersize=5,
            label=f"{show(curve.flops, 'quantity')}FLOPs, best {_best(curve)}",
        )
        if curve.optimum:
            lowest = float(curve(np.array([curve.optimum]))[0])
            axes.plot(curve.optimum, lowest, marker="*", color="black", markersize=9, linestyle="none")
    _log_x(axes, sorted({float(size) for curve in curves for size in curve.parameters}))
    axes.set_title(f"{line.label}: equal training FLOPs", fontsize=9, loc="left")
    axes.set_xlabel("parameters")
    _finish(axes, f"test {metric.label} (← better)")


def _best(curve: IsoFlops) -> str:
    """Return the best size, or on which side of those that were trained it is."""
    if curve.optimum:
        return f"at {show(curve.optimum, 'quantity')}"
    end, sign = (-1, "≥") if curve.losses[-1] < curve.losses[0] else (0, "≤")
    return f"{sign} {show(float(curve.parameters[end]), 'quantity')}"


def _log_x(axes: Axes, places: Sequence[float]) -> None:
    """Make the axis logarithmic, with ticks that say the numbers that were run."""
    if all(place > 0 and math.log2(place).is_integer() for place in places):
        axes.set_xscale("log", base=2)
        return
    axes.set_xscale("log")
    if len(places) <= _FEW_TICKS:
        axes.set_xticks(places, _labels(places))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: show(x, "quantity")))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)


def _labels(places: Sequence[float]) -> list[str]:
    """Return what ticks on a logarithmic axis say: nothing where it would run into the one before."""
    labels, told = [], -math.inf
    room = _LABEL * math.log(places[-1] / places[0])
    for place in places:
        fits = math.log(place) - told >= room
        labels.append(show(place, "quantity") if fits else "")
        told = math.log(place) if fits else told
    return labels


def _log_y(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 10 * low:  # within a decade the usual ticks have no numbers
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def _finish(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    columns = _legend_columns(axes.get_legend_handles_labels()[1])
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns)


def _legend_columns(labels: Sequence[str]) -> int:
    return 1 if len(labels) <= _FEW_LINES or max(map(len, labels)) > _SHORT_LABEL else 2


def _legend_rows(axes: Axes) -> int:
    labels = axes.get_legend_handles_labels()[1]
    return math.ceil(len(labels) / _legend_columns(labels))


def _say(axes: Axes, *, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, fontsize=9, transform=axes.transAxes)
    axes.set_axis_off()

"""Pictures of benchmarks: ratios to ours or tokens a second, and time and memory against length."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from seqsuite.errors import UserError
from seqsuite.report import Report, Row, Section
from seqsuite.report.format import show
from seqsuite.report.pictures import PictureFile, look, save_picture
from seqsuite.results.benchmarks import QUICK, is_quick
from seqsuite.wording import counted

OURS = "seqsuite"
"""The peer that others are measured against, where that is ours."""
_COLUMNS, _WIDTH_INCHES, _HEIGHT_INCHES = 3, 5.2, 4.2
_OTHER_SLOPES = {"train_s": "train_slope", "train_bytes": "memory_slope", "decode_s": "decode_slope"}

Draw = Callable[[Axes], None]
Points = list[tuple[float, float]]


def draw(reports: Sequence[Report], file: PictureFile) -> None:
    """Write a picture of reports as PNG, PDF or SVG, by the suffix.

    Raises:
        UserError: the file cannot be written.
    """
    save_picture(benchmark_figure(reports), file)


def benchmark_figure(reports: Sequence[Report]) -> Figure:
    """Draw what benchmarks found, a panel a quantity, with the machine that they were run on.

    Raises:
        UserError: if no report has anything to draw.
    """
    panels = [panel for report in reports for panel in _panels(report)]
    if not panels:
        raise UserError("These benchmarks have neither times of peers nor anything by length: none is drawn.")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    peers = max(len(_peers(_of_kind(report, "times"))) for report in reports)
    height = max(_HEIGHT_INCHES, 0.32 * peers + 2.5)
    size = (max(8.0, _WIDTH_INCHES * columns), height * rows)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(places, panels, strict=False):
        panel(axes)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    machine = reports[0].machine
    where = machine.get("GPU", f"{machine['processor']}, {counted(int(machine['cores']), 'core')}")
    commands = "; ".join(report.command for report in reports)
    figure.suptitle(f"{commands} — {where}, PyTorch {machine['PyTorch']}", fontsize=10)
    if any(map(is_quick, reports)):
        figure.supxlabel(QUICK, fontsize=9)
    return figure


@dataclass(frozen=True)
class _Curves:
    """Lines of a panel: values of a unit against a length, both logarithmic.

    Attributes:
        title: What is shown.
        unit: ``seconds``, ``bytes`` or ``quantity``.
        lines: Points by name.
        slopes: Exponents of the lines, where they were fitted.
        across: What the length is of.
    """

    title: str
    unit: str
    lines: Mapping[str, Points]
    slopes: Mapping[str, float]
    across: str = "length L"


def _panels(report: Report) -> Iterator[Draw]:
    times = _of_kind(report, "times")
    if times:
        yield partial(_draw_ratios if OURS in _peers(times) else _draw_rates, times=times)
    for curves in [*_growth(report), *_generation(report), *_complexity(report)]:
        if any(curves.lines.values()):
            yield partial(_draw_curves, curves=curves)


def _growth(report: Report) -> Iterator[_Curves]:
    """Yield time by length for each work of a sweep, and the memory."""
    slopes = [row for section in _of_kind(report, "slopes") for row in section.rows]
    for section in _of_kind(report, "growth"):
        for work in dict.fromkeys(row["work"] for row in section.rows):
            rows = [row for row in section.rows if row["work"] == work]
            fitted = [row for row in slopes if row["work"] == work]
            for key, slope, unit in (
                ("median_s", "time_slope", "seconds"),
                ("peak_bytes", "memory_slope", "bytes"),
            ):
                lines = _lines(rows, "peer", "seqlen", key)
                name = "time" if unit == "seconds" else "peak memory"
                yield _Curves(f"{work}: {name}", unit, lines, _slopes(fitted, "peer", slope))


def _generation(report: Report) -> Iterator[_Curves]:
    """Yield speed, state and memory by the number of tokens generated."""
    for section in _of_kind(report, "generation"):
        for title, key, unit in (
            ("generation: tokens a second", "tokens_per_second", "quantity"),
            ("generation: bytes of the state", "state_bytes", "bytes"),
            ("generation: growth of the process's memory", "grown_bytes", "bytes"),
        ):
            lines = _lines(section.rows, "model", "tokens", key)
            yield _Curves(title, unit, lines, {}, "tokens generated")


def _complexity(report: Report) -> Iterator[_Curves]:
    """Yield time and memory of training and of a token by length, with the exponents."""
    fitted = [row for section in _of_kind(report, "exponents") for row in section.rows]
    for section in _of_kind(report, "complexity"):
        for title, key, unit in (
            ("train step: time", "train_s", "seconds"),
            ("train step: memory", "train_bytes", "bytes"),
            ("a token after L: time", "decode_s", "seconds"),
            ("state after L", "state_bytes", "bytes"),
        ):
            slopes = _slopes(fitted, "model", _OTHER_SLOPES.get(key, "state_slope"))
            yield _Curves(title, unit, _lines(section.rows, "model", "seqlen", key), slopes)


def _of_kind(report: Report, kind: str) -> list[Section]:
    return [section for section in report.sections if section.kind == kind]


def _lines(rows: Sequence[Row], name: str, across: str, key: str) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for row in rows:
        if row.get(key):
            found.setdefault(row[name], []).append((row[across], row[key]))
    return found


def _slopes(rows: Sequence[Row], name: str, key: str) -> dict[str, float]:
    return {row[name]: row[key] for row in rows if row.get(key) is not None}


def _draw_curves(axes: Axes, *, curves: _Curves) -> None:
    for place, (name, points) in enumerate(curves.lines.items()):
        slope, seen = curves.slopes.get(name), look(place)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker=seen.marker,
            linestyle=seen.dashes,
            color="black" if name == OURS else seen.colour,
            linewidth=2 if name == OURS else 1.2,
            markersize=4.5,
            label=name if slope is None else f"{name}, slope {round(slope, 2) + 0.0:.2f}",
        )
    places = sorted({x for points in curves.lines.values() for x, _ in points})
    axes.set_xscale("log", base=2)
    if not all(math.log2(place).is_integer() for place in places):
        axes.set_xticks(places, [show(int(place), "quantity") for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log", base=2 if curves.unit == "bytes" else 10)
    low, high = axes.get_ylim()
    if curves.unit != "bytes" and high < 20 * low:  # one decade alone has hardly a tick
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: show(y, curves.unit)))
    axes.set_xlabel(curves.across)
    axes.set_title(curves.title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)


def _draw_ratios(axes: Axes, *, times: list[Section]) -> None:
    """Draw how many times as long each peer takes as ours."""
    _draw_points(axes, times, "ratio", [name for name in _peers(times) if name != OURS])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time ÷ seqsuite's (right of the line: slower)")


def _draw_rates(axes: Axes, *, times: list[Section]) -> None:
    """Draw tokens a second, where the peers are models of their own."""
    _draw_points(axes, times, "tokens_per_second", _peers(times))
    axes.set_xlabel("tokens a second (right: faster)")


def _peers(times: list[Section]) -> list[str]:
    return list(dict.fromkeys(row["peer"] for section in times for row in section.rows))


def _draw_points(axes: Axes, times: list[Section], key: str, peers: list[str]) -> None:
    """One line a peer, one marker a table."""
    for index, section in enumerate(times):
        values = {row["peer"]: row[key] for row in section.rows if row.get(key)}
        shown = [name for name in peers if name in values]
        axes.plot(
            [values[name] for name in shown],
            [peers.index(name) for name in shown],
            linestyle="none",
            marker=look(index).marker,
            color=look(index).colour,
            markersize=5,
            label=section.title,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.set_yticks(range(len(peers)), peers)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))

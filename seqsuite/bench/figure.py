"""A benchmark's picture: ratios to ours or tokens a second, and time against length where it was swept."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from seqsuite.bench.peers import BOTH, FORWARD, OURS
from seqsuite.report import Report, Row, Section
from seqsuite.report.format import digits
from seqsuite.report.pictures import COLOURS, save_picture

_MARKERS = "osD^vP*X<>hd"


def draw(report: Report, path: Path) -> None:
    """Write a picture of a report as PNG, PDF or SVG, by the suffix.

    Raises:
        UserError: the file cannot be written.
    """
    times = [section for section in report.sections if section.kind == "times"]
    growth = next((section for section in report.sections if section.kind == "growth"), None)
    slopes = next((section for section in report.sections if section.kind == "slopes"), None)
    columns = (1 if times else 0) + (2 if growth else 0)
    peers = len(_peers(times))
    height = max(4.0, 0.32 * peers + 0.28 * len(times) + 1.5)
    figure = Figure(figsize=(5.5 * columns if growth else 8, height), layout="constrained")
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    if times:
        draw_times = _draw_ratios if OURS in _peers(times) else _draw_rates
        draw_times(panels.pop(0), times)
    if growth is not None and slopes is not None:
        for axes, work in zip(panels, (FORWARD, BOTH), strict=True):
            _draw_growth(axes, growth, slopes, work)
    machine = report.machine
    where = machine.get("GPU", f"{machine['processor']}, {machine['cores']} cores")
    figure.suptitle(f"{report.command} — {where}, PyTorch {machine['PyTorch']}", fontsize=10)
    save_picture(figure, path)


def _draw_ratios(axes: Axes, times: list[Section]) -> None:
    """Draw how many times as long each peer takes as ours."""
    _draw_points(axes, times, "ratio", [name for name in _peers(times) if name != OURS])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time ÷ seqsuite's (right of the line: slower)")


def _draw_rates(axes: Axes, times: list[Section]) -> None:
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
            marker=_MARKERS[index % len(_MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markersize=5,
            label=section.title,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.set_yticks(range(len(peers)), peers)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _draw_growth(axes: Axes, growth: Section, slopes: Section, work: str) -> None:
    """Time against length, with the fitted slope of each line in the legend."""
    fitted = {row["peer"]: row["time_slope"] for row in slopes.rows if row["work"] == work}
    points: dict[str, list[Row]] = {}
    for row in growth.rows:
        if row["work"] == work and "median_s" in row:
            points.setdefault(row["peer"], []).append(row)
    for index, (peer, rows) in enumerate(points.items()):
        slope = fitted.get(peer)
        axes.plot(
            [row["seqlen"] for row in rows],
            [row["median_s"] for row in rows],
            marker=_MARKERS[index % len(_MARKERS)],
            color="black" if peer == OURS else COLOURS[index % len(COLOURS)],
            linewidth=2 if peer == OURS else 1,
            markersize=4,
            label=peer if slope is None else f"{peer}, slope {digits(slope)}",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("L")
    axes.set_ylabel("seconds")
    axes.set_title(work, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)

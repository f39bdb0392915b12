"""A small log–log plot as SVG within a page: lines told apart by their marks and dashes, not by colours."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from seqsuite.report.format import show
from seqsuite.report.pictures import Look

_WIDTH, _HEIGHT = 300, 214
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 22, 66
_ENTRY, _ROWS = 14, 3  # height of a row of the legend, and how many have room
_SHORT, _LONGEST = 16, 42  # characters of a name in a legend of two columns, and of one
_DASHES = {"-": "", "--": "6 3", "-.": "8 3 2 3", ":": "2 3"}
_SHAPES = {
    "o": "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z",
    "s": "m-3-3h6v6h-6z",
    "D": "m0-4l4 4l-4 4l-4-4z",
    "^": "m0-4l3.8 6.6h-7.6z",
    "v": "m0 4l3.8-6.6h-7.6z",
    "<": "m-4 0l6.6-3.8v7.6z",
    ">": "m4 0l-6.6-3.8v7.6z",
    "d": "m0-4.6l2.8 4.6l-2.8 4.6l-2.8-4.6z",
    "h": "m0-4l3.5 2v4l-3.5 2l-3.5-2v-4z",
    "P": "m-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "X": "m-4-2.2l1.8-1.8 2.2 2.2 2.2-2.2 1.8 1.8-2.2 2.2 2.2 2.2-1.8 1.8-2.2-2.2-2.2 2.2-1.8-1.8 2.2-2.2z",
    "*": "m0-4.6l1.1 3.2l3.4.1l-2.7 2l1 3.3l-2.8-2l-2.8 2l1-3.3l-2.7-2l3.4-.1z",
}
"""Of the markers of :class:`Look`, about the point where they stand."""

Points = Sequence[tuple[float, float]]


def loglog_plot(
    title: str, unit: str, lines: Mapping[str, Points], looks: Mapping[str, Look], *, strong: str
) -> str:
    """Return a plot of positive values against length.

    Args:
        title: What is drawn.
        unit: ``seconds`` or ``bytes``.
        lines: Points of each line by its name.
        looks: How each looks.
        strong: Name of the line that stands out.
    """
    every = [point for points in lines.values() for point in points if point[1] > 0]
    if not every:
        return ""
    across = _Scale([x for x, _ in every], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([y for _, y in every], _HEIGHT - _BOTTOM, _TOP)
    bottom = _HEIGHT - _BOTTOM
    parts = [f'<text x="2" y="12">{escape(title)}</text>']
    for x in sorted({x for x, _ in every}):
        where = f'x="{across(x):.1f}" y="{bottom + 13}" text-anchor="middle"'
        parts.append(f'<text class="soft" {where}>{x:g}</text>')
    for y in up.decades():
        where = f'x="{_LEFT - 4}" y="{up(y) + 3:.1f}" text-anchor="end"'
        parts.append(f'<path class="tick" d="M{_LEFT} {up(y):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="soft" {where}>{show(y, unit)}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}"/>')
    columns = 2 if all(len(name) <= _SHORT for name in lines) else 1
    for place, (name, points) in enumerate(lines.items()):
        seen = [(across(x), up(y)) for x, y in points if y > 0]
        entry = 4 + place % columns * 150, bottom + 30 + _ENTRY * (place // columns)
        parts += _line(name, seen, looks[name], name == strong, entry)
    told = "; ".join(
        f"{name}: {', '.join(f'{show(y, unit)} at {x:g}' for x, y in points)}"
        for name, points in lines.items()
    )
    height = _HEIGHT + _ENTRY * max(0, math.ceil(len(lines) / columns) - _ROWS)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(f"{title}. {told}")}">'
        f"{''.join(parts)}</svg>"
    )


def mark(look: Look, x: float, y: float, *, strong: bool) -> str:
    """Return the mark of a line at a place, as SVG."""
    kind = "point strong" if strong else "point"
    return f'<path class="{kind}" d="M{x:.1f} {y:.1f}{_SHAPES[look.marker]}"/>'


def _line(name: str, points: Points, look: Look, strong: bool, entry: tuple[int, int]) -> list[str]:
    """Return a line with its marks, and its entry in the legend below."""
    kind = " strong" if strong else ""
    dash = f' stroke-dasharray="{dashes}"' if (dashes := _DASHES[look.dashes]) else ""
    joined = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    x, y = entry
    parts = [f'<path class="line{kind}"{dash} d="M{joined}"/>'] if points else []
    parts.append(f'<path class="line{kind}"{dash} d="M{x} {y}h26"/>')
    parts += [mark(look, *point, strong=strong) for point in [*points, (x + 13, y)]]
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    parts.append(f'<text x="{x + 31}" y="{y + 3.5}">{escape(short)}</text>')
    return parts


class _Scale:
    """From values to places, by logarithms."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max(0.08 * (high - low), 0.05)
        self._low, self._high = low - room, high + room
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def decades(self) -> list[float]:
        """Return the powers of ten within, or the ends where there are fewer than two."""
        powers = range(math.ceil(self._low), math.floor(self._high) + 1)
        step = max(1, len(powers) // 4)
        found = [10.0**power for power in powers[::step]]
        return found if len(found) > 1 else [10**self._low, 10**self._high]

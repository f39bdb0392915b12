"""A small log–log plot as SVG within a page: lines told apart by their marks and dashes, not by colours."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from seqsuite.report.format import show

_WIDTH, _HEIGHT = 300, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 22, 62
_ENTRY, _ROWS = 14, 3  # height of a row of the legend, and how many have room
_LONGEST = 21  # characters of a name in the legend
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")
_SHAPES = ("circle", "square", "triangle", "diamond", "cross")

Points = Sequence[tuple[float, float]]


def loglog_plot(title: str, unit: str, lines: Mapping[str, Points], *, strong: str) -> str:
    """Return a plot of positive values against length.

    Args:
        title: What is drawn.
        unit: ``seconds`` or ``bytes``.
        lines: Points of each line by its name.
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
    for place, (name, points) in enumerate(lines.items()):
        parts += _line(place, name, [(across(x), up(y)) for x, y in points if y > 0], name == strong)
    told = "; ".join(
        f"{name}: {', '.join(f'{show(y, unit)} at {x:g}' for x, y in points)}"
        for name, points in lines.items()
    )
    height = _HEIGHT + _ENTRY * max(0, (len(lines) + 1) // 2 - _ROWS)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(f"{title}. {told}")}">'
        f"{''.join(parts)}</svg>"
    )


def _line(place: int, name: str, points: Points, strong: bool) -> list[str]:
    """Return a line with its marks, and its entry in the legend below."""
    kind = " strong" if strong else ""
    dash = f' stroke-dasharray="{dashes}"' if (dashes := _DASHES[place % len(_DASHES)]) else ""
    shape = _SHAPES[place % len(_SHAPES)]
    joined = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    x, y = _LEFT - 40 + (place % 2) * 150, _HEIGHT - _BOTTOM + 30 + _ENTRY * (place // 2)
    sample = [(x + 13.0, float(y))]
    parts = [f'<path class="line{kind}"{dash} d="M{joined}"/>'] if points else []
    parts.append(f'<path class="line{kind}"{dash} d="M{x} {y}h26"/>')
    parts += [_mark(shape, *point, kind) for point in [*points, *sample]]
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    parts.append(f'<text x="{x + 31}" y="{y + 3.5}">{escape(short)}</text>')
    return parts


def _mark(shape: str, x: float, y: float, kind: str) -> str:
    if shape == "circle":
        return f'<circle class="point{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    forms = {
        "square": "m-3-3h6v6h-6z",
        "triangle": "m0-4l3.8 6.6h-7.6z",
        "diamond": "m0-4l4 4l-4 4l-4-4z",
        "cross": "m-3-3l6 6m0-6l-6 6",
    }
    return f'<path class="point{kind}" d="M{x:.1f} {y:.1f}{forms[shape]}"/>'


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

"""Numbers for people: three significant digits and a unit, the same everywhere."""

import math
from collections.abc import Callable, Sequence
from typing import Any

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_THOUSANDS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
MISSING = "–"


def show(value: Any, kind: str, digits_after_point: int = 2) -> str:
    """Return a raw value for people; a dash for a number that is missing, nothing for missing words.

    Kinds: ``text``; ``count`` (``12 345``), ``quantity`` (a count or a rate in three digits, ``12.3 k``),
    ``ratio`` (times ours), ``share`` (of 1), ``seconds``, ``duration`` (hours, of seconds), ``range`` (two of
    seconds), ``bytes``, ``error`` (relative), ``number`` (with as many digits after the point as asked for).
    Words are shown as they are.
    """
    if value is None or value == "":
        return "" if kind == "text" else MISSING
    if isinstance(value, str):  # words in place of a number, such as "failed"
        return value
    if kind == "number":
        return f"{value:.{digits_after_point}f}"
    return _KINDS[kind](value)


def duration(seconds: float) -> str:
    """Return a time in its largest unit that is not zero: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def digits(x: float) -> str:
    """Return three significant digits, without an exponent."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    x = float(f"{x:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(x))))
    return f"{x:.{min(decimals, 4)}f}"


def scaled(x: float, units: Sequence[tuple[float, str]]) -> str:
    """Return three digits of ``x`` in the largest unit that leaves at least 1, else in the smallest."""
    size, unit = next((unit for unit in units if abs(x) >= unit[0] * 0.9995), units[-1])
    return f"{digits(x / size)} {unit}".rstrip()


def _quantity(x: float) -> str:
    return str(x) if isinstance(x, int) and abs(x) < 1000 else scaled(x, _THOUSANDS)


def _seconds(x: float) -> str:
    return scaled(x, _SECONDS)


_KINDS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": lambda x: f"{x:,}".replace(",", " "),
    "quantity": _quantity,
    "ratio": lambda x: f"{digits(x)} ×",
    "share": lambda x: f"{100 * x:.0f} %",
    "seconds": _seconds,
    "duration": duration,
    "range": lambda x: f"{_seconds(x[0])} {MISSING} {_seconds(x[1])}",
    "bytes": lambda x: scaled(x, _BYTES),
    "error": lambda x: f"{x:.0e}",
}

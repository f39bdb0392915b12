"""A picture in words, and what is expected of one, kept in a file beside the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

EXPECTED = Path(__file__).parent / "expected"


def check(name: str, text: str) -> None:
    """Compare a text with the file of expected ones; ``RENEW=1`` in the environment writes the file."""
    path = EXPECTED / name
    if os.environ.get("RENEW"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "if that is meant, run this test with RENEW=1"


def in_words(figure: Figure) -> str:
    """Return all that is drawn, a line each, with numbers of four digits: no fonts, and no layout."""
    return "\n".join(_figure(figure)) + "\n"


def _figure(figure: Figure) -> Iterator[str]:
    yield f"figure {_numbers(figure.get_size_inches())}"
    yield from map(_text, figure.texts)
    for axes in figure.axes:
        spec = axes.get_subplotspec()
        assert spec is not None
        yield f"panel {_numbers(spec.get_geometry())} {spec.get_gridspec().get_height_ratios()} {axes.axison}"
        yield from (f"  {line}" for line in _axes(axes))


def _axes(axes: Axes) -> Iterator[str]:
    yield from map(_text, axes.texts)
    titles = (axes.title, axes._left_title, axes._right_title)
    yield from (_text(title) for title in titles if title.get_text())
    if not axes.axison:
        return
    for name, axis, limits in (("x", axes.xaxis, axes.get_xlim()), ("y", axes.yaxis, axes.get_ylim())):
        low, high = sorted(limits)
        ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
        yield f"{name} {axis.get_scale()} {_numbers(limits)} {_text(axis.label)}"
        size = axis.get_tick_params()
        yield f"  {len(axis.get_minorticklocs())} minor, ticks {_numbers(ticks)} {size}"
        shown = zip(axis.get_ticklabels(), axis.get_majorticklocs(), strict=False)
        yield from (f"  {_text(label)}" for label, tick in shown if low <= tick <= high and label.get_text())
        yield from (f"  grid {_line(line)}" for line in axis.get_gridlines()[:1] if line.get_visible())
    spines = [name for name, spine in axes.spines.items() if spine.get_visible()]
    yield f"spines {spines}, below {axes.get_axisbelow()}"
    for artist in axes.get_children():
        if isinstance(artist, Line2D):
            yield f"line {_line(artist)}"
        elif isinstance(artist, Collection):
            yield from _collection(artist)
        elif isinstance(artist, Rectangle) and artist is not axes.patch:
            bounds, colour = artist.get_bbox().bounds, to_hex(artist.get_facecolor(), keep_alpha=True)
            yield f"bar {_numbers(bounds)} {colour} {artist.get_label()}"
        elif isinstance(artist, Legend):
            yield from _legend(artist, axes)


def _text(text: Text) -> str:
    where = "" if not isinstance(getattr(text, "xy", None), tuple) else f" at {_numbers(text.xy)}"
    return (
        f"text {text.get_text()!r} {_numbers(text.get_position())}{where} size {text.get_fontsize():g} "
        f"{text.get_ha()} {text.get_va()} {to_hex(str(text.get_color()))} {text.get_fontweight()} "
        f"{text.get_rotation():g}"
    )


def _line(line: Line2D) -> str:
    face = line.get_markerfacecolor()
    return (
        f"{line.get_label()!r} {to_hex(line.get_color())} alpha {line.get_alpha()} {line.get_linestyle()} "
        f"{line.get_linewidth():g} marker {line.get_marker()} {line.get_markersize():g} "
        f"{face if face == 'none' else to_hex(face)} x {_numbers(line.get_xdata())} "
        f"y {_numbers(line.get_ydata())}"
    )


def _collection(found: Collection) -> Iterator[str]:
    for path in found.get_paths():
        vertices = np.asarray(path.vertices, dtype=np.float64)
        colours = [
            to_hex(colour, keep_alpha=True) for colour in [*found.get_facecolor(), *found.get_edgecolor()]
        ]
        yield f"area {colours} {np.asarray(found.get_linewidth()).tolist()} {_numbers(vertices.ravel())}"


def _legend(legend: Legend, axes: Axes) -> Iterator[str]:
    box = legend.get_bbox_to_anchor().transformed(axes.transAxes.inverted()).bounds
    place, columns = legend._loc, legend._ncols
    yield f"legend {place} {columns} columns in {_numbers(box)} frame {legend.get_frame_on()}"
    yield from (f"  {text.get_text()!r} size {text.get_fontsize():g}" for text in legend.get_texts())


def _numbers(found: object) -> str:
    """Return numbers, of many of them the first and the last ones."""
    numbers = [float(number) for number in np.asarray(found, dtype=np.float64).ravel()]
    shown = [f"{number + 0.0:.4g}" for number in numbers]
    many = len(shown) > 24
    return "(" + " ".join([*shown[:4], f"… {len(shown)} …", *shown[-4:]] if many else shown) + ")"

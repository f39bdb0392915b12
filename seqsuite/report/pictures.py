"""What all pictures share: where they may be written, in which form, and how lines are told apart."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seqsuite.errors import UserError
from seqsuite.report.outputs import check_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""From the palette of Okabe and Ito, which is told apart with any colour vision."""
GREY = "#555555"
_MARKERS, _DASHES = "osD^vP*X<>hd", ("-", "--", "-.", ":")
SUFFIXES = (".png", ".pdf", ".svg")
_DPI = 150


class Look(NamedTuple):
    """How a line or a group of points looks."""

    colour: str
    marker: str
    dashes: str


def look(place: int) -> Look:
    """Return the look of one of several lines: they are told apart by colour, and without colours too."""
    return Look(COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])


def check_picture(path: Path) -> None:
    """Complain about a picture's path before any work, not after it.

    Raises:
        UserError: if the suffix is none of :data:`SUFFIXES`, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        given = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise UserError(f"--figure {path} has {given}: let it end in {', '.join(SUFFIXES)}.")
    check_output("--figure", path)


def svg_bytes(figure: "Figure") -> bytes:
    """Return a figure as SVG whose letters are paths, the same bytes each time and with any fonts."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "seqsuite", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def save_picture(figure: "Figure", path: Path) -> Path:
    """Write a figure in the form that its suffix names and return the path; missing folders are created.

    The same figure gives the same bytes: no date is written into it.

    Raises:
        UserError: if the file cannot be written.
    """
    import matplotlib

    suffix = path.suffix.lower()
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "seqsuite", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=_DPI, format=suffix.removeprefix("."), metadata=metadata)
    except OSError as error:
        raise UserError(f"The picture {path} cannot be written: {error.strerror}.") from error
    return path

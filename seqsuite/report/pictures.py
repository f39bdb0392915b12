"""What all pictures share: where they may be written, in which form, and how lines are told apart."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

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


Style = Literal["screen", "paper"]
STYLES: tuple[Style, ...] = get_args(Style)
_PAPER_INCHES = 5.5
"""Width of the text of a paper in one column, as those of ICLR and NeurIPS are."""
_PAPER_ROW_INCHES = 1.9
_PAPER_FONT = "STIXGeneral"
"""Of the family of Times, which such papers are set in; it comes with matplotlib."""
_PAPER_POINTS, _PAPER_SMALL = 8.0, 6.5


class PictureFile(NamedTuple):
    """Where a picture is written, and for what.

    Attributes:
        path: Its suffix names the form.
        style: ``paper`` has the width and the font of a paper's text.
    """

    path: Path
    style: Style = "screen"

    def __str__(self) -> str:
        return str(self.path)


class Look(NamedTuple):
    """How a line or a group of points looks."""

    colour: str
    marker: str
    dashes: str


def look(place: int) -> Look:
    """Return the look of one of several lines: they are told apart by colour, and without colours too."""
    return Look(COLOURS[place % len(COLOURS)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])


def check_picture(file: PictureFile) -> None:
    """Complain about a picture's path before any work, not after it.

    Raises:
        UserError: if the suffix is none of :data:`SUFFIXES`, or the file cannot be written.
    """
    path = file.path
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


def for_paper(figure: "Figure") -> None:
    """Give a figure the width of a paper's text, and letters of the size and the font of its captions."""
    from matplotlib.text import Text

    width, height = figure.get_size_inches()
    rows = max((grid.nrows for axes in figure.axes if (grid := axes.get_gridspec()) is not None), default=1)
    lower = max(height * _PAPER_INCHES / width, _PAPER_ROW_INCHES * rows)
    for axes in figure.axes:
        axes.tick_params(which="both", labelsize=_PAPER_SMALL)
        legend = axes.get_legend()
        if legend is not None:  # one below its panel stays as far below
            anchor = legend.get_bbox_to_anchor().transformed(axes.transAxes.inverted())
            if anchor.y0 < 0:
                legend.set_bbox_to_anchor((anchor.x0, anchor.y0 * height / lower), axes.transAxes)
        for child in axes.get_children():
            if isinstance(child, Text):  # titles, which are as long as they were
                child.set_wrap(True)
    figure.set_size_inches(_PAPER_INCHES, lower)
    for text in figure.findobj(Text):
        text.set_fontfamily(_PAPER_FONT)
        text.set_math_fontfamily("stix")
        is_small = float(text.get_fontsize()) < _PAPER_POINTS
        text.set_fontsize(_PAPER_SMALL if is_small else _PAPER_POINTS)


def save_picture(figure: "Figure", file: PictureFile) -> Path:
    """Write a figure in the form that its suffix names and return the path; missing folders are created.

    The same figure gives the same bytes: no date is written into it.

    Raises:
        UserError: if the file cannot be written.
    """
    import matplotlib

    path, style = file
    if style == "paper":
        for_paper(figure)
    suffix = path.suffix.lower()
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "seqsuite", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=_DPI, format=suffix.removeprefix("."), metadata=metadata)
    except OSError as error:
        raise UserError(f"The picture {path} cannot be written: {error.strerror}.") from error
    return path

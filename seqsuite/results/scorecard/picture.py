"""A card as a picture: a panel a test, a line a model, with marks that read in black and white."""

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from seqsuite.report.pictures import GREY, Look, PictureFile, save_picture
from seqsuite.results.looks import looks
from seqsuite.results.scorecard.card import Card, Line, Score
from seqsuite.results.table import SMOKE

_COLUMNS = 3
_PANEL_INCHES, _LANE_INCHES, _FRAME_INCHES = 3.5, 0.22, 0.85
_SCALE_INCHES, _LINE_INCHES = 2.5, 0.13
"""Room for a panel's scale and title beside the names of models, and for each further line of a name."""
_TITLE_LETTERS, _NAME_LETTERS = 30, 18
_NAME_POINTS = 8


def draw_card(card: Card, file: PictureFile) -> Path:
    """Write a card's picture to ``path``, whose suffix names the form.

    Raises:
        UserError: if it cannot be written.
    """
    return save_picture(card_figure(card), file)


def card_figure(card: Card) -> Figure:
    """Draw every test: means and 95 % intervals over seeds, between chance and the best there can be."""
    rows = max(1, math.ceil(len(card.lines) / _COLUMNS))
    names = [_name(model) for model in card.models]
    lane = _LANE_INCHES + _LINE_INCHES * max((name.count("\n") for name in names), default=0)
    width = max(_PANEL_INCHES, _SCALE_INCHES + max(map(_inches, names), default=0.0))
    height = rows * (_FRAME_INCHES + lane * len(names)) + 0.5
    figure = Figure(figsize=(_COLUMNS * width, height), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for panel, line in zip(panels, card.lines, strict=False):
        _draw(panel, card, line)
    for panel in panels[len(card.lines) :]:
        panel.set_axis_off()
    figure.suptitle(
        f"{card.candidate}, scale={card.scale}, {card.seeds_told}", x=0.01, ha="left", fontsize=12
    )
    if card.scale == "smoke":
        figure.supxlabel(SMOKE, fontsize=9)
    return figure


def _draw(panel: Axes, card: Card, line: Line) -> None:
    models = card.models
    seen = looks(models)
    for score in line.scores:
        place = models.index(score.model)
        _draw_score(panel, score, place, seen[place], ours=score.model == card.candidate)
    worst, best = line.ends
    room = 0.04 * (best - worst)
    panel.set_xlim(worst - room, best + room)
    panel.set_ylim(len(models) - 0.4, -0.6)
    panel.set_yticks(range(len(models)), [_name(model) for model in models], fontsize=_NAME_POINTS)
    for label, model in zip(panel.get_yticklabels(), models, strict=True):
        label.set_fontweight("bold" if model == card.candidate else "normal")
    if line.chance is not None:
        panel.axvline(line.chance, color=GREY, linestyle=":", linewidth=1)
    panel.set_title(textwrap.fill(line.test.title, _TITLE_LETTERS), fontsize=9, loc="left")
    panel.set_xlabel(f"{line.metric.label} (→ better)", fontsize=8)  # the axis runs from worse to better
    panel.tick_params(axis="x", labelsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.grid(axis="y", color="#dddddd", linewidth=0.8)
    panel.set_axisbelow(True)


def _name(model: str) -> str:
    return textwrap.fill(model, _NAME_LETTERS, break_long_words=False)


def _inches(name: str) -> float:
    """Return how wide a name is where it is bold."""
    font = FontProperties(weight="bold")
    lines = [TextPath((0, 0), line, size=_NAME_POINTS, prop=font) for line in name.split("\n")]
    return max(float(line.get_extents().width) for line in lines) / 72  # points of an inch


def _draw_score(panel: Axes, score: Score, place: int, look: Look, *, ours: bool) -> None:
    if not math.isfinite(score.mean):
        return
    colour, width = ("black", 2.5) if ours else (GREY, 1.5)
    panel.plot([score.low, score.high], [place, place], color=colour, linewidth=width)
    face, size = ("black", 7) if ours else ("white", 6)
    panel.plot(score.mean, place, look.marker, color="black", markerfacecolor=face, markersize=size)

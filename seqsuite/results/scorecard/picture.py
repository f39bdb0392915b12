"""A card as a picture: a panel a test, a line a model, with marks that read in black and white."""

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqsuite.report.pictures import GREY, PictureFile, save_picture
from seqsuite.results.scorecard.card import Card, Line, Score
from seqsuite.results.table import SMOKE

_COLUMNS = 3
_PANEL_INCHES, _LANE_INCHES, _FRAME_INCHES = 3.5, 0.22, 0.85
_TITLE_LETTERS = 30  # a line, in a panel beside long names
_MARKS = "sD^vP"


def draw_card(card: Card, file: PictureFile) -> Path:
    """Write a card's picture to ``path``, whose suffix names the form.

    Raises:
        UserError: if it cannot be written.
    """
    return save_picture(card_figure(card), file)


def card_figure(card: Card) -> Figure:
    """Draw every test: means and 95 % intervals over seeds, between chance and the best there can be."""
    rows = max(1, math.ceil(len(card.lines) / _COLUMNS))
    lanes = len(card.models)
    height = rows * (_FRAME_INCHES + _LANE_INCHES * lanes) + 0.5
    figure = Figure(figsize=(_COLUMNS * _PANEL_INCHES, height), layout="constrained")
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
    for score in line.scores:
        _draw_score(panel, card, score, models.index(score.model))
    worst, best = line.ends
    room = 0.04 * (best - worst)
    panel.set_xlim(worst - room, best + room)
    panel.set_ylim(len(models) - 0.4, -0.6)
    panel.set_yticks(range(len(models)), models, fontsize=8)
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


def _draw_score(panel: Axes, card: Card, score: Score, place: int) -> None:
    if not math.isfinite(score.mean):
        return
    ours = score.model == card.candidate
    colour, width = ("black", 2.5) if ours else (GREY, 1.5)
    panel.plot([score.low, score.high], [place, place], color=colour, linewidth=width)
    others = [model for model in card.models if model not in (card.candidate, card.reference)]
    mark = "o" if ours or score.model == card.reference else _MARKS[others.index(score.model) % len(_MARKS)]
    face = "black" if ours else "white"
    panel.plot(score.mean, place, mark, color="black", markerfacecolor=face, markersize=7 if ours else 6)

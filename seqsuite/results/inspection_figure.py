"""The inspection page's first tab as a picture: what models let in, keep, read and say of one input."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqsuite.report.pictures import COLOURS, GREY, PictureFile, save_picture

_BLUE, _ORANGE, _, _PURPLE = COLOURS[:4]
_MOST_LABELS = 64
_WIDTH, _HEIGHT = 6.5, 9.0


def write_figure(data: Mapping[str, Any], output: Path) -> None:
    """Draw the first input's models side by side, on one scale, and write it in the form of the suffix.

    From top to bottom: the mean step size Δ of the layer in which it differs most; what is left of each token
    at the end, and whose share is read then; how far the last answer moves without each token; the likeliest
    answers at the end.

    Args:
        data: What :func:`seqsuite.results.inspection_page.write_page` takes.
        output: The file.

    Raises:
        UserError: if it cannot be written.
    """
    save_picture(inspection_figure(data), PictureFile(output))


def inspection_figure(data: Mapping[str, Any]) -> Figure:
    """Return the picture; see :func:`write_figure`."""
    shown, models = data["inputs"][0], data["models"]
    figure = Figure(figsize=(_WIDTH * len(models), _HEIGHT), layout="constrained")
    panels = figure.subplots(4, len(models), squeeze=False, sharey="row")
    largest = max((_largest_step(model) for model in shown["models"]), default=0.0)
    for column, (described, model) in enumerate(zip(models, shown["models"], strict=True)):
        place = most_selective(model["layers"])
        layer = model["layers"][place]
        step, kept, moved, says = panels[:, column]
        _bars(step, _step_sizes(layer, len(shown["tokens"])), shown["tokens"], _BLUE)
        step.set_ylim(0, largest * 1.05 or 1)
        names = [described["name"], *([described["label"]] if described["label"] else [])]
        told = [*names, f"let in: Δ in layer {place + 1}, mean of the channels"]
        step.set_title("\n".join(told), fontsize=10)
        _draw_kept(kept, layer, shown["tokens"])
        _bars(moved, model["without"], shown["tokens"], _PURPLE)
        moved.set_ylim(0, 1.05)
        moved.set_title("counts: how far the last answer moves without the token, of 1", fontsize=10)
        _draw_answers(says, model["answers"][-1])
    return figure


def most_selective(layers: Sequence[Mapping[str, Any]]) -> int:
    """Return the place of the layer whose mean step sizes differ most between tokens."""
    spreads = [np.ptp(layer["delta"]["mean"]) if layer["delta"] is not None else -1.0 for layer in layers]
    return int(np.argmax(spreads))


def _largest_step(model: Mapping[str, Any]) -> float:
    means = [layer["delta"]["mean"] for layer in model["layers"] if layer["delta"] is not None]
    return max((float(np.max(mean)) for mean in means), default=0.0)


def _step_sizes(layer: Mapping[str, Any], length: int) -> Sequence[float] | None:
    if layer["delta"] is None:
        return None
    mean = layer["delta"]["mean"]
    if not isinstance(mean, list):
        return [mean] * length
    return mean if len(mean) == length else None


def _bars(
    axes: Axes, numbers: Sequence[float] | None, tokens: Sequence[str], colour: str, **bars: Any
) -> None:
    """Draw a bar a token; where there is no number for them, say so."""
    if numbers is None:
        axes.text(0.5, 0.5, "not shown by this layer", transform=axes.transAxes, ha="center", color=GREY)
        axes.set_xticks([])
        return
    axes.bar(range(len(tokens)), numbers, color=colour, **bars)
    axes.margins(x=0.01)
    if len(tokens) <= _MOST_LABELS:
        axes.set_xticks(range(len(tokens)), [_escaped(token) for token in tokens], rotation=60, fontsize=8)


def _draw_kept(axes: Axes, layer: Mapping[str, Any], tokens: Sequence[str]) -> None:
    memory, read = layer["memory"], layer["read"]
    length = len(tokens)
    kept = None if memory is None else [float(np.mean(part)) for part in np.array(memory["values"])[:, -1].T]
    shares = None if read is None else read[-1]
    both = [numbers if numbers is not None and len(numbers) == length else None for numbers in (kept, shares)]
    if both == [None, None]:
        _bars(axes, None, tokens, GREY)
    if both[0] is not None:
        _bars(axes, both[0], tokens, _ORANGE, alpha=0.35, label="left of it in the state, mean")
    if both[1] is not None:
        _bars(axes, both[1], tokens, GREY, width=0.4, label="share of what is read")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)
    axes.set_ylim(0, 1.05)
    axes.set_title(f"kept, and read, at “{_escaped(tokens[-1])}”", fontsize=10)


def _draw_answers(axes: Axes, answers: Sequence[tuple[str, float]]) -> None:
    names = [_escaped(label) for label, _ in answers]
    axes.barh(range(len(names)), [chance for _, chance in answers], color=_BLUE, alpha=0.6)
    for place, (name, (_, chance)) in enumerate(zip(names, answers, strict=True)):
        axes.text(0.01, place, f"{name}  {100 * chance:.1f} %", va="center", fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_title("says at the end, with which probability", fontsize=10)


def _escaped(token: str) -> str:
    """Return a token as matplotlib shows it: a blank seen, no formula."""
    return "␣" if token == " " else token.replace("$", r"\$")

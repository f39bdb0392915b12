"""What a model makes of an input as plain data: lists and numbers that a page or a picture can draw."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seqsuite.models.base import Inspected
from seqsuite.models.inspection import inspect_model
from seqsuite.models.remembered import by_time_constant, read_shares, remembered
from seqsuite.models.sequence_model import SequenceModel

LONGEST_MATRIX = 256
"""Positions of which pairs are shown at most: matrices have the square of their number."""

_ANSWERS = 6
_OPENED = 3
_STATES = 64  # rows of a state's heat map
_MODES = 3  # channels whose convolution and recurrence are shown
_MOST_WORK = 2e10  # multiply-adds of the runs without a token: half a minute of one core at most


@torch.no_grad()
def describe(model: SequenceModel, ids: Tensor, name: Callable[[int], str]) -> dict[str, Any]:
    """Return what a model lets in, keeps, reads and would say at each position of an input.

    Args:
        model: The model.
        ids: The input, int64 (L,).
        name: What an output is called: a token, or a class.

    Returns:
        ``state_bytes`` (L); ``answers``, for each position the likeliest outputs as pairs of a name and a
        probability; ``without`` (L), how far the last answer moves when the token is left out, see
        :func:`without_each`; and ``layers``, each with

        - ``delta``: ``mean`` over the channels (L), or one number; ``top``, for each position pairs of a
          channel and its Δ; ``widest``, how many channels open widest at each position;
        - ``memory``: ``kind``, ``groups``, ``values`` (G, L, L), see :func:`.remembered.remembered`;
        - ``read``: shares (L, L), see :func:`.remembered.read_shares`;
        - ``state``: mean magnitudes (L, channels), by time constant;
        - ``modes``: a few channels of a time-invariant layer with ``channel``, ``kernel``, ``input`` and
          ``output`` by the recurrence (L each).

        Any of these may be ``None``. L is smaller in the inner stages of a multi-stage backbone.
    """
    blocks = list(model.blocks.layers())
    sizes = [sum(block.state_size(end + 1) for block in blocks) for end in range(len(ids))]
    width = torch.finfo(next(model.parameters()).dtype).bits // 8
    logits, _ = model.prefill(ids.unsqueeze(0), model.initial_state(1))
    return {
        "state_bytes": [size * width for size in sizes],
        "answers": [_likeliest(chances, name) for chances in logits[0].softmax(-1)],
        "without": _rounded(moved) if (moved := without_each(model, ids)) is not None else None,
        "layers": [_layer(decided) for decided in inspect_model(model, ids.unsqueeze(0))],
    }


def without_each(model: SequenceModel, ids: Tensor) -> Tensor | None:
    """Return how far the probabilities after the last position move if one token is left out, for each (L,).

    That is their total variation distance, half the sum of the absolute differences: 0 where nothing changes,
    1 where everything does. It asks the whole model and nothing of its parts, so it compares any two.

    Returns:
        The distances, or ``None`` where there are no two tokens, or it would take too long.
    """
    length = len(ids)
    if length < 2 or model.num_parameters() * length**2 > _MOST_WORK:
        return None
    left = torch.stack([torch.cat([ids[:place], ids[place + 1 :]]) for place in range(length)])

    def last(tokens: Tensor) -> Tensor:
        logits, _ = model.prefill(tokens, model.initial_state(len(tokens)))
        return logits[:, -1].softmax(-1)

    return (last(left) - last(ids.unsqueeze(0))).abs().sum(-1) / 2


def _likeliest(chances: Tensor, name: Callable[[int], str]) -> list[tuple[str, float]]:
    values, places = chances.topk(min(_ANSWERS, len(chances)))
    return [
        (name(place), round(value, 6)) for value, place in zip(values.tolist(), places.tolist(), strict=True)
    ]


def _layer(decided: Mapping[str, Inspected]) -> dict[str, Any]:
    short = all(size <= LONGEST_MATRIX for shown in decided.values() for size in _lengths(shown))
    memory, read = (remembered(decided), read_shares(decided)) if short else (None, None)
    return {
        "delta": _step_sizes(decided["delta"], short) if "delta" in decided else None,
        "memory": None
        if memory is None
        else {"kind": memory[0], "groups": memory[1], "values": _rounded(memory[2])},
        "read": None if read is None else _rounded(read),
        "state": _state(decided) if short else None,
        "modes": _modes(decided) if short else None,
    }


def _lengths(shown: Inspected) -> list[int]:
    along = {"position", "query", "key", "lag"}
    return [size for axis, size in zip(shown.axes, shown.values.shape, strict=True) if axis in along]


def _step_sizes(delta: Inspected, channels: bool) -> dict[str, Any]:
    """Return the mean of the channels, and if these are wanted, which of them opened where."""
    if "position" not in delta.axes:
        return {"mean": _rounded(delta.values.mean()), "top": None, "widest": None}
    values = delta.values[0].flatten(1)
    if not channels:
        return {"mean": _rounded(values.mean(1)), "top": None, "widest": None}
    most, places = values.topk(min(_OPENED, values.shape[1]), dim=1)
    top = [list(zip(places[at].tolist(), _rounded(most[at]), strict=True)) for at in range(len(values))]
    widest = values.argmax(0).bincount(minlength=len(values))
    return {"mean": _rounded(values.mean(1)), "top": top, "widest": widest.tolist()}


def _state(decided: Mapping[str, Inspected]) -> Any:
    """Return mean magnitudes (L, channels) by time constant, of neighbours together if they are many."""
    order = by_time_constant(decided)
    if order is None or "state" not in decided:
        return None
    by_channel = decided["state"].values[0].abs().flatten(2).mean(2)[:, order]
    parts = by_channel.tensor_split(min(_STATES, by_channel.shape[1]), dim=1)
    return _rounded(torch.stack([part.mean(1) for part in parts], dim=1))


def _modes(decided: Mapping[str, Inspected]) -> list[dict[str, Any]] | None:
    """Return the channels that forget first, in the middle, and last."""
    order = by_time_constant(decided)
    if order is None or not {"kernel", "input", "output"} <= decided.keys():
        return None
    last, count = len(order) - 1, min(_MODES, len(order))
    places = [at * last // max(count - 1, 1) for at in range(count)]
    kernel, x, y = (decided["kernel"].values, *(decided[name].values[0].T for name in ("input", "output")))
    return [
        {
            "channel": channel,
            **{
                name: _rounded(values[channel], 8)
                for name, values in (("kernel", kernel), ("input", x), ("output", y))
            },
        }
        for channel in order[places].tolist()
    ]


def _rounded(values: Tensor, digits: int = 4) -> Any:
    """Return numbers, or lists of them, in so many digits that count."""
    if values.dim() > 1:
        return [_rounded(part, digits) for part in values]
    if values.dim():
        return [float(f"{x:.{digits}g}") for x in values.tolist()]
    return float(f"{values.item():.{digits}g}")

"""What a checkpoint keeps of training besides weights, as containers of tensors in CPU memory."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqsuite.models.sequence_model import BackboneState


def copied(value: Any) -> Any:
    """Return containers of tensors with every tensor copied into CPU memory, split over processes or not.

    Args:
        value: Dictionaries, lists and tuples of tensors and other values.
    """
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def joined(
    states: Sequence[BackboneState | None], gather: Callable[[Tensor], Tensor]
) -> dict[str, Any] | None:
    """Return what is carried from step to step, of all rows of a batch; ``None`` if nothing is.

    Args:
        states: What each micro-batch carries.
        gather: Returns the rows of all processes (see ``Placement.gather``).
    """
    present = [state for state in states if state is not None]
    if not present:
        return None
    blocks = [
        {key: gather(torch.cat([block[key] for block in blocks])).cpu() for key in blocks[0]}
        for blocks in zip(*(state.blocks for state in present), strict=True)
    ]
    return {"position": present[0].position, "blocks": blocks}


def rows_of(state: dict[str, Any] | None, rows: range, device: torch.device) -> BackboneState | None:
    """Return what is carried of some rows, from what :func:`joined` made of all."""
    if state is None:
        return None
    blocks = (
        {key: value[rows.start : rows.stop].to(device) for key, value in block.items()}
        for block in state["blocks"]
    )
    return BackboneState(state["position"], tuple(blocks))

"""What is checked when a mixer of a plug-in is called: faults are told of it, not of the block around it."""

import inspect
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from seqsuite.errors import UserError


def check_outputs(mixer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], outputs: Any) -> None:
    """Check what a mixer's forward returned, as a forward hook of it that is given all arguments.

    While torch.compile traces nothing is checked: whatever else a graph has in it, this is left out.

    Raises:
        UserError: if that is no pair of outputs and a state, or the outputs have not the inputs' shape.
    """
    if torch.compiler.is_compiling():
        return
    if not isinstance(outputs, tuple) or len(outputs) != 2 or not isinstance(outputs[0], Tensor):
        told = f"a value of type {type(outputs).__name__}"
        if isinstance(outputs, tuple):
            told = f"{len(outputs)} values"
        raise UserError(
            f"{_place(mixer)} must return two values, outputs and a state (or None, if it was given none), "
            f"but returned {told}."
        )
    x = inputs[0] if inputs else named["x"]
    if outputs[0].shape != x.shape:
        raise UserError(
            f"{_place(mixer)} must return outputs of the shape of its inputs (B, L, D), which is "
            f"{tuple(x.shape)}, but returned {tuple(outputs[0].shape)}."
        )


def _place(mixer: nn.Module) -> str:
    kind, file = type(mixer), None
    with suppress(TypeError, OSError):  # a class of a notebook has none
        file = inspect.getsourcefile(kind)
    return f"{kind.__name__}.forward ({file or kind.__module__})"

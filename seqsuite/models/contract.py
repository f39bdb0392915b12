"""What is checked when a mixer of a plug-in is called: faults are told of it, not of the block around it."""

import inspect
from typing import Any

from torch import Tensor, nn

from seqsuite.errors import UserError


def check_outputs(mixer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
    """Check what a mixer's forward returned, as a forward hook of it.

    Raises:
        UserError: if that is no pair of outputs and a state, or the outputs have not the inputs' shape.
    """
    kind = type(mixer)
    where = f"{kind.__name__}.forward ({inspect.getsourcefile(kind) or kind.__module__})"
    if not isinstance(outputs, tuple) or len(outputs) != 2 or not isinstance(outputs[0], Tensor):
        told = f"a value of type {type(outputs).__name__}"
        if isinstance(outputs, tuple):
            told = f"{len(outputs)} values"
        raise UserError(
            f"{where} must return two values, outputs and a state (or None, if it was given none), but "
            f"returned {told}."
        )
    expected, found = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if found != expected:
        raise UserError(
            f"{where} must return outputs of the shape of its inputs (B, L, D), which is {expected}, but "
            f"returned {found}."
        )

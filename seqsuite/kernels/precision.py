"""Where autocast must not reach."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.amp.autocast_mode import is_autocast_available


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products keep their inputs' dtype, whatever autocast says outside.

    A state is carried over thousands of positions and a kernel is made of high powers of a matrix: rounded to
    eight bits at each product, both would be noise.
    """
    if _has_autocast(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def _has_autocast(device: str) -> bool:
    """Return whether there is autocast on such a device; torch.compile calls this and does not trace it."""
    return is_autocast_available(device)

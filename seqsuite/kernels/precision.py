"""Where autocast must not reach."""

import torch


def full_precision(device: torch.device) -> torch.autocast:
    """Return a context in which matrix products keep their inputs' dtype, whatever autocast says outside.

    A state is carried over thousands of positions and a kernel is made of high powers of a matrix: rounded to
    eight bits at each product, both would be noise.
    """
    return torch.autocast(device.type, enabled=False)

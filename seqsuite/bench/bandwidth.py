"""Memory: how fast it is copied, and how much of it a scan must touch."""

import torch

from seqsuite.bench.peers import BACKWARD, Shape, Work
from seqsuite.bench.timing import time_once

COPY_BYTES = 1 << 28
SAMPLES = 5


def copy_bandwidth(device: str) -> float:
    """Return the bytes a second, read and written, of PyTorch's copy of a large tensor."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * COPY_BYTES / min(time_once(lambda: target.copy_(source), device) for _ in range(SAMPLES))


def bytes_moved(shape: Shape, work: Work, dtype: torch.dtype) -> int:
    """Return the bytes that a scan must read and write: its sequences and their gradients, once each."""
    batch, seqlen, d_model, d_state = shape
    wide, narrow = (7, 4) if work == BACKWARD else (4, 2)  # u, Δ, z, y, or dy and three gradients; B and C
    return batch * seqlen * (wide * d_model + narrow * d_state) * dtype.itemsize

"""Sequences marked position by position (``seq_idx``), as the offsets that our operations take."""

from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Rows of B · L positions, cut into sequences.

    Attributes:
        cu_seqlens: Offsets (S + 1,) of the sequences in all rows, one after the other; int64.
        first: Number of the first sequence of each row, (B,).
        last: Number of the last one, (B,).
    """

    cu_seqlens: Tensor
    first: Tensor
    last: Tensor


def pack(seq_idx: Tensor) -> Packing:
    """Return where sequences begin: at each row's first position, and wherever ``seq_idx`` (B, L) changes.

    Raises:
        ValueError: if it is not (B, L) of whole numbers, with at least one position.
    """
    if seq_idx.dim() != 2 or 0 in seq_idx.shape or seq_idx.is_floating_point():
        raise ValueError(
            f"seq_idx must be whole numbers of shape (B, L), not {seq_idx.dtype} {tuple(seq_idx.shape)}"
        )
    begins = torch.ones_like(seq_idx, dtype=torch.bool)
    begins[:, 1:] = seq_idx[:, 1:] != seq_idx[:, :-1]
    starts = begins.flatten().nonzero().flatten()
    cu_seqlens = torch.cat([starts, starts.new_tensor([seq_idx.numel()])])
    last = begins.sum(1).cumsum(0) - 1
    return Packing(cu_seqlens, torch.cat([last.new_zeros(1), last[:-1] + 1]), last)

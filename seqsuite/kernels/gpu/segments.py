"""Sequences cut into segments of rows, which programs work on side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqsuite.kernels.checks import sequence_offsets


@dataclass(frozen=True)
class Cut:
    """Sequences cut into segments, all int64 on the CPU.

    Attributes:
        first: first row of each segment (segments,).
        rows: number of rows of each (segments,).
        sequence: which sequence each belongs to (segments,).
        position: of its first row in that sequence (segments,).
        remaining: rows from its first to the end of that sequence (segments,).
        offsets: first segment of each sequence, and the number of segments (S + 1,).
    """

    first: Tensor
    rows: Tensor
    sequence: Tensor
    position: Tensor
    remaining: Tensor
    offsets: Tensor


def row_offsets(batch: int, seqlen: int, cu_seqlens: Tensor | None) -> Sequence[int]:
    """Return the first row of each sequence in (B·L), and the number of rows.

    Raises:
        ValueError: unless ``cu_seqlens`` rises from 0 to ``seqlen``.
    """
    if cu_seqlens is not None:
        return tuple(sequence_offsets(cu_seqlens, seqlen))
    return range(0, batch * seqlen + 1, seqlen) if seqlen > 0 else (0,) * (batch + 1)


def longest(offsets: Sequence[int]) -> int:
    """Return the length of the longest of the sequences at these offsets."""
    lengths = torch.tensor(list(offsets), device="cpu").diff()
    return int(lengths.max()) if len(lengths) else 0


def cut(offsets: Sequence[int], length: int) -> Cut:
    """Cut sequences at these offsets into segments of ``length`` rows, the last of each perhaps shorter.

    An empty sequence gets an empty segment.
    """
    bounds = torch.tensor(list(offsets), device="cpu")
    lengths = bounds.diff()
    counts = (-(-lengths // length)).clamp_min(1)
    ends = counts.cumsum(0)
    sequence = torch.repeat_interleave(counts)
    position = (torch.arange(len(sequence), device="cpu") - (ends - counts)[sequence]) * length
    remaining = lengths[sequence] - position
    return Cut(
        first=bounds[sequence] + position,
        rows=remaining.clamp_max(length),
        sequence=sequence,
        position=position,
        remaining=remaining,
        offsets=torch.cat([ends.new_zeros(1), ends]),
    )

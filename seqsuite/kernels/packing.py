"""Packed sequences as a few padded batches, for operations that treat the rows of a batch alike.

Sequences of similar length share a batch and are padded on the right. The number of batches grows with the
logarithm of the longest length at most, not with the number of sequences, and memory by a third at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqsuite.kernels.checks import sequence_offsets


@dataclass(frozen=True)
class PaddedBatches:
    """Where the positions of S sequences packed along L are in some padded batches of n_i rows of m_i.

    Attributes:
        shapes: (n_i, m_i) of each batch.
        sequences: Which sequences the rows of each batch are, int64 (n_i,).
        lengths: How long those are, int64 (n_i,).
        forwards: The packed position of each place of the batches, all of them one after the other, and L
            for a place that is padding: int64 (Σ n_i m_i,).
        backwards: The same where each sequence begins with its last position.
        places: The place of each packed position, int64 (L,).
        order: The row of each sequence among those of all batches, int64 (S,).
    """

    shapes: tuple[tuple[int, int], ...]
    sequences: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]
    forwards: Tensor
    backwards: Tensor
    places: Tensor
    order: Tensor

    @staticmethod
    def of(cu_seqlens: Tensor, length: int, device: torch.device) -> "PaddedBatches":
        """Return the batches for sequences from ``cu_seqlens`` (S + 1,), whose positions are L in number.

        Raises:
            ValueError: unless the offsets rise from 0 to L.
        """
        offsets = torch.tensor(sequence_offsets(cu_seqlens, length))
        starts, lengths = offsets[:-1], offsets.diff()
        sorted_lengths, sequences = lengths.sort(descending=True, stable=True)
        shapes = _shapes(sorted_lengths.tolist())
        rows = torch.split(sequences, [n for n, _ in shapes])
        forwards, backwards = [], []
        for (_, longest), row in zip(shapes, rows, strict=True):
            place, end = torch.arange(longest), lengths[row].unsqueeze(1)
            first = starts[row].unsqueeze(1)
            forwards.append(torch.where(place < end, first + place, length).flatten())
            backwards.append(torch.where(place < end, first + end - 1 - place, length).flatten())
        forward = torch.cat(forwards)
        places = torch.empty(length + 1, dtype=torch.int64)
        places[forward] = torch.arange(len(forward))
        return PaddedBatches(
            shapes=shapes,
            sequences=tuple(row.to(device) for row in rows),
            lengths=tuple(lengths[row].to(device) for row in rows),
            forwards=forward.to(device),
            backwards=torch.cat(backwards).to(device),
            places=places[:length].to(device),
            order=sequences.argsort().to(device),
        )

    def split(self, packed: Tensor, *, backwards: bool = False) -> list[Tensor]:
        """Return the batches (n_i, m_i, …) of a packed tensor (1, L, …), with zeros for padding.

        Args:
            packed: The tensor.
            backwards: Whether each sequence is to begin with its last position; padding stays on the right.
        """
        rows = torch.cat([packed[0], packed.new_zeros(1, *packed.shape[2:])])
        placed = rows[self.backwards if backwards else self.forwards]
        parts = torch.split(placed, [n * m for n, m in self.shapes])
        shapes = [(*shape, *packed.shape[2:]) for shape in self.shapes]
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def join(self, batches: Sequence[Tensor]) -> Tensor:
        """Undo :meth:`split`: return the packed tensor (1, L, …) without the padding."""
        return torch.cat([batch.flatten(0, 1) for batch in batches])[self.places].unsqueeze(0)

    def split_states(self, states: Tensor) -> list[Tensor]:
        """Return for each batch the states (n_i, …) of its sequences, of those of all (S, …)."""
        return [states[rows] for rows in self.sequences]

    def join_states(self, states: Sequence[Tensor]) -> Tensor:
        """Undo :meth:`split_states`."""
        return torch.cat(list(states))[self.order]


def _shapes(lengths: list[int]) -> tuple[tuple[int, int], ...]:
    """Cut lengths that fall into batches (rows, longest), each row at least three quarters as long as that.

    Sequences without positions are rows of the last batch.
    """
    shapes: list[tuple[int, int]] = []
    first = 0
    for row in range(1, len(lengths) + 1):
        if row == len(lengths) or 0 < 4 * lengths[row] < 3 * lengths[first]:
            shapes.append((row - first, lengths[first]))
            first = row
    return tuple(shapes)

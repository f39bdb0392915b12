"""Packed sequences as padded batches."""

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.kernels.packing import PaddedBatches

CPU = torch.device("cpu")


def make(lengths: list[int]) -> tuple[PaddedBatches, torch.Tensor]:
    """Return the batches of sequences of these lengths, and packed numbers (1, L, 2), none of them zero."""
    offsets = torch.tensor([0, *accumulate(lengths)])
    total = int(offsets[-1])
    return PaddedBatches.of(offsets, total, CPU), 1 + torch.arange(2.0 * total).view(1, total, 2)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.booleans())
def test_rows_are_the_sequences_with_zeros_behind_them(lengths: list[int], backwards: bool) -> None:
    batches, packed = make(lengths)
    numbers, seen = torch.arange(len(lengths)), []
    offsets = [0, *accumulate(lengths)]
    parts = batches.split(packed, backwards=backwards)
    rows = zip(parts, batches.split_states(numbers), batches.lengths, strict=True)
    for part, sequences, those in rows:
        for row, s, length in zip(part, sequences.tolist(), those.tolist(), strict=True):
            sequence = packed[0, offsets[s] : offsets[s + 1]]
            assert length == lengths[s]
            assert torch.equal(row[:length], sequence.flip(0) if backwards else sequence)
            assert not row[length:].any()
            seen.append(s)
    assert sorted(seen) == list(range(len(lengths)))
    assert torch.equal(batches.join(batches.split(packed)), packed)
    assert torch.equal(batches.join_states(batches.split_states(numbers)), numbers)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=400))
def test_padding_is_a_third_at_most_and_batches_are_few(lengths: list[int]) -> None:
    batches, packed = make(lengths)
    assert sum(n * m for n, m in batches.shapes) <= packed.shape[1] * 4 / 3
    assert all(long > short for (_, long), (_, short) in pairwise(batches.shapes))
    assert len(batches.shapes) <= 30  # log 5000 / log 4/3


def test_sequences_of_one_length_are_one_batch_without_padding() -> None:
    assert make([7] * 100)[0].shapes == ((100, 7),)


def test_gradients_go_both_ways() -> None:
    batches, packed = make([3, 0, 5, 1])
    leaf = packed.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batches.join([part**2 for part in batches.split(x)]), leaf)


def test_offsets_that_do_not_rise_to_the_length_are_refused() -> None:
    with pytest.raises(ValueError, match="cu_seqlens must rise from 0 to L = 9"):
        PaddedBatches.of(torch.tensor([0, 5, 8]), 9, CPU)

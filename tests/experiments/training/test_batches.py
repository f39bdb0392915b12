"""Batches are made ahead, in order, and what fails is told."""

import threading

import numpy as np
import pytest
import torch

from seqsuite.experiments.training.batches import Prefetcher, cut, to_tensors
from seqsuite.tasks.base import Batch


def test_items_come_in_order_and_end():
    with Prefetcher(lambda number: number * number, range(5, 12)) as items:
        assert list(items) == [n * n for n in range(5, 12)]
        with pytest.raises(StopIteration):
            next(items)


def test_no_more_than_a_few_are_held():
    made = threading.Semaphore(0)
    with Prefetcher(lambda number: made.release() or number, range(100)) as items:
        assert next(items) == 0
        for _ in range(4):  # one taken, two held, one waiting for room
            made.acquire()
        assert not made.acquire(timeout=0.2)
    assert items.waited >= 0


def test_what_fails_is_raised_where_the_item_is_asked_for():
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("no such thing")
        return number

    with Prefetcher(make, range(5)) as items:
        assert [next(items), next(items)] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="no such thing"):
                next(items)


def test_a_batch_becomes_tensors_with_its_count():
    tokens = np.array([[1, 2], [3, -100]])
    batch = to_tensors(Batch(tokens, tokens, cu_seqlens=np.array([0, 2])), torch.device("cpu"))
    assert torch.equal(batch.inputs, torch.from_numpy(tokens))
    assert (batch.counted, batch.lengths) == (3, None)
    assert batch.cu_seqlens is not None


def test_a_part_of_sequences_says_where_it_lies_and_what_counts() -> None:
    tokens = np.array([[1, 2, 3, 4], [5, -100, 7, -100]])
    whole = to_tensors(Batch(tokens, tokens), torch.device("cpu"))
    assert (whole.start, whole.whole, whole.counted) == (0, None, 6)
    part = cut(whole, 1, 3)
    assert part.inputs.tolist() == [[2, 3], [-100, 7]]
    assert (part.start, part.whole, part.counted) == (1, 4, 3)
    numbers = np.array([[[1.0], [np.nan], [2.0]]])
    part = cut(to_tensors(Batch(numbers, numbers), torch.device("cpu")), 0, 2)
    assert (part.start, part.whole, part.counted, part.targets.shape) == (0, 3, 1, (1, 2, 1))

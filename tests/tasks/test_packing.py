"""Streams in rows without padding: what is where, by hand."""

import numpy as np

from seqsuite.tasks.base import IGNORE, Batch
from seqsuite.tasks.packing import Packing

STREAMS = [np.array([10, 11, 12, 13]), np.array([20, 21]), np.array([30, 31, 32, 33, 34])]
LAST = np.array([[2**64 - 1]], dtype=np.uint64)
"""The random word of the last place."""


def parts(batch: Batch) -> tuple[list[int], list[int], list[int]]:
    """Inputs, targets and offsets of a batch, which is one sequence."""
    assert batch.cu_seqlens is not None
    (inputs,), (targets,) = batch.inputs.tolist(), batch.targets.tolist()
    return inputs, targets, batch.cu_seqlens.tolist()


def test_tiles_cover_all_streams_and_leak_nothing() -> None:
    packing = Packing(STREAMS, 4)
    assert packing.tiles == 3
    assert parts(packing.tile(range(3), 3)) == (
        [10, 11, 12, 13, 20, 21, 30, 31, 32, 33],
        [11, 12, 13, IGNORE, 21, IGNORE, 31, 32, 33, 34],
        [0, 4, 6, 8, 10],
    )
    assert [Packing(STREAMS, seqlen).tiles for seqlen in (3, 5, 9, 10, 11)] == [4, 2, 2, 1, 1]


def test_fewer_tiles_are_evenly_spaced() -> None:
    packing = Packing(STREAMS, 4)
    assert parts(packing.tile(range(1, 2), 2)) == ([32, 33], [33, 34], [0, 2])
    assert parts(packing.tile(range(1), 2))[0] == [10, 11, 12, 13]


def test_a_token_that_is_never_a_target_is_read() -> None:
    _, targets, _ = parts(Packing(STREAMS, 10, unscored_token=31).tile(range(1), 1))
    assert targets == [11, 12, 13, IGNORE, 21, IGNORE, IGNORE, 32, 33, 34]


def test_streams_of_one_token_are_sequences() -> None:
    packing = Packing([np.array([1]), np.array([2]), np.array([3, 4])], 3)
    assert parts(packing.tile(range(1), 1)) == ([1, 2, 3], [IGNORE, IGNORE, 4], [0, 1, 2, 3])


def test_rows_are_drawn_from_the_first_place_to_the_last_that_fits() -> None:
    packing = Packing(STREAMS, 4)
    words = np.concatenate([np.zeros_like(LAST), LAST])
    assert parts(packing.draw(words, np.array([4, 4]))) == (
        [10, 11, 12, 13, 30, 31, 32, 33],
        [11, 12, 13, IGNORE, 31, 32, 33, 34],
        [0, 4, 8],
    )
    assert parts(packing.draw(LAST, np.array([9])))[0] == [11, 12, 13, 20, 21, 30, 31, 32, 33]
    for longer in (10, 11, 99):  # all there is
        inputs, _, offsets = parts(packing.draw(LAST, np.array([longer])))
        assert inputs == [10, 11, 12, 13, 20, 21, 30, 31, 32, 33]
        assert offsets == [0, 4, 6, 10]

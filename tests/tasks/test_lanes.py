"""Where the parts of a stream that are read side by side begin and end."""

from itertools import pairwise

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.lanes import Joined, Lanes


@pytest.mark.parametrize(("tokens", "chunks"), [(26, 3), (25, 2), (18, 2), (17, 1), (10, 1)])
def test_a_lane_has_as_many_whole_chunks_as_have_a_token_after_them(tokens: int, chunks: int) -> None:
    lanes = Lanes([np.arange(tokens // 2), np.arange(tokens // 2, tokens)], 2, 4)
    assert lanes.chunks == chunks
    read = []
    for chunk in range(2 * chunks):
        rows, goes_on = lanes.windows(range(2 * chunk, 2 * chunk + 2))
        assert goes_on == (chunk % chunks > 0)
        read.append(np.stack(rows))
    once = np.concatenate([rows[:, :-1] for rows in read[:chunks]], axis=1)
    np.testing.assert_array_equal(once, np.array([[0], [tokens // 2]]) + np.arange(4 * chunks))
    for earlier, later in pairwise(read):
        if later is not read[chunks]:
            np.testing.assert_array_equal(earlier[:, -1], later[:, 0])
    for first, again in zip(read[:chunks], read[chunks:], strict=True):
        np.testing.assert_array_equal(first, again)


def test_less_than_a_chunk_a_lane_is_refused() -> None:
    with pytest.raises(UserError) as error:
        Lanes([np.arange(9)], 2, 4)
    assert str(error.value) == (
        "task.lanes=2 parts of the data have 4 tokens each, which is less than task.seqlen=4: "
        "choose fewer lanes or shorter chunks."
    )


@pytest.mark.parametrize("rows", [range(1, 3), range(3)])
def test_rows_are_of_one_step(rows: range) -> None:
    lanes = Lanes([np.arange(26)], 2, 4)
    assert len(lanes.windows(range(1, 2))[0]) == 1
    with pytest.raises(ValueError, match=rf"rows {rows.start} to 3 are not of one step of 2 lanes"):
        lanes.windows(rows)


def test_a_range_is_read_over_as_many_streams_as_it_takes() -> None:
    joined = Joined([np.arange(3), np.arange(3, 4), np.arange(4, 9)])
    assert len(joined) == 9
    for start in range(9):
        for length in range(1, 10 - start):
            assert joined.read(start, length).tolist() == list(range(start, start + length))

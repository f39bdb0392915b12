"""Where the parts of a stream that are read side by side begin and end."""

from itertools import pairwise

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.lanes import Lanes


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
    with pytest.raises(UserError, match=r"parts of the data have 4 tokens each"):
        Lanes([np.arange(9)], 2, 4)

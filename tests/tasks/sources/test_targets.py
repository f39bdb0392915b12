import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.tasks.sources import targets
from seqsuite.tasks.sources.targets import has_target, known_runs, starts_with_target

UNKNOWN = 4

streams = st.lists(st.sampled_from([0, UNKNOWN]), min_size=1, max_size=40).map(
    lambda tokens: np.array(tokens, dtype=np.uint8)
)


@settings(deadline=None, max_examples=200)
@given(streams, st.integers(1, 12), st.integers(1, 40))
def test_windows_are_those_that_looking_finds(stream: np.ndarray, seqlen: int, block: int) -> None:
    before, targets.BLOCK = targets.BLOCK, block
    try:
        runs = known_runs(stream, UNKNOWN)
    finally:
        targets.BLOCK = before
    possible = range(max(len(stream) - seqlen, 1))
    expected = [s for s in possible if (stream[s + 1 : s + 1 + seqlen] != UNKNOWN).any()]
    starts = starts_with_target(runs, len(stream), seqlen)
    assert starts.total == len(expected)
    assert starts.pick(np.arange(starts.total)).tolist() == expected
    everywhere = np.array(possible)
    assert np.flatnonzero(has_target(runs, everywhere, seqlen)).tolist() == expected
    known = [int((stream[s : s + seqlen] != UNKNOWN).sum()) for s in possible]
    assert runs.known_in(everywhere, everywhere + seqlen).tolist() == known


def test_draws_are_uniform_over_the_starts() -> None:
    stream = np.full(10_000, UNKNOWN, dtype=np.uint8)
    stream[5_000:5_100] = 0
    starts = starts_with_target(known_runs(stream, UNKNOWN), len(stream), 50)
    assert starts.total == 149
    drawn = starts.pick(np.random.default_rng(0).integers(starts.total, size=149_000))
    counts = np.bincount(drawn - drawn.min())
    assert len(counts) == 149
    assert counts.min() > 850
    assert counts.max() < 1_150


@pytest.mark.parametrize("length", [0, 5])
def test_a_stream_without_known_tokens_has_no_window(length: int) -> None:
    runs = known_runs(np.full(length, UNKNOWN, dtype=np.uint8), UNKNOWN)
    assert starts_with_target(runs, length, 3).total == 0
    assert not has_target(runs, np.arange(3), 3).any()


class Reads:
    """A stream of one known token, which notes how much is read at once."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, places: slice) -> np.ndarray:
        found = np.zeros(len(range(*places.indices(self.length))), dtype=np.uint8)
        self.read.append(len(found))
        return found


def test_a_stream_is_read_in_blocks_of_four_million_tokens() -> None:
    stream = Reads(2**22 + 3)
    starts, ends = known_runs(stream, UNKNOWN)  # type: ignore[arg-type]
    assert stream.read == [2**22, 3]
    assert (starts.tolist(), ends.tolist()) == ([0], [2**22 + 3])

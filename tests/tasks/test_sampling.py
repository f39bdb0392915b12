"""Which windows are drawn and which are scored, at the edges of streams."""

import numpy as np

from seqsuite.tasks.random import row_words
from seqsuite.tasks.sampling import Sampler, tiles
from seqsuite.tasks.sources.targets import known_runs

STREAMS = [np.arange(3), np.arange(10, 19), np.arange(20, 26)]
"""Of 2, 8 and 5 targets."""


def test_a_stream_is_drawn_by_its_targets_and_a_start_where_a_window_fits() -> None:
    drawn = Sampler(STREAMS, (), 5).draw(row_words(0, "train", range(3000), 2))
    starts = [{window.start for window in drawn if window.stream == stream} for stream in range(3)]
    assert starts == [{0}, {0, 1, 2, 3}, {0}]
    counts = np.bincount([window.stream for window in drawn])
    expected = 200 * np.array([2, 8, 5])
    assert ((counts - expected) ** 2 / expected).sum() < 2 + 5 * np.sqrt(4)


def test_the_first_and_the_last_word_draw_the_first_and_the_last_window() -> None:
    ends = np.array([[0, 0], [2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    for seqlen, last in ((4, 1), (5, 0), (6, 0)):
        assert Sampler(STREAMS, (), seqlen).draw(ends) == [(0, 0), (2, last)]


def test_windows_with_a_known_target_alone_are_drawn() -> None:
    """Of zeros, which are unknown, and two known tokens, at 4 and 9: they are targets of two windows each."""
    stream = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    runs = [known_runs(stream, 0)]
    drawn = Sampler([stream], runs, 2).draw(row_words(0, "train", range(400), 2))
    assert {window.start for window in drawn} == {2, 3, 7}
    assert list(tiles([stream], runs, 2)) == [(0, 2), (0, 8)]


def test_tiles_have_a_target() -> None:
    assert list(tiles(STREAMS, (), 4)) == [(0, 0), (1, 0), (1, 4), (2, 0), (2, 4)]
    assert list(tiles(STREAMS, (), 5)) == [(0, 0), (1, 0), (1, 5), (2, 0)]
    assert list(tiles([np.arange(1), np.arange(2)], (), 5)) == [(1, 0)]

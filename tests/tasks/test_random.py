"""Rows are pure functions of seed, split and row, and their words are random."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.tasks.random import below, numbered_apart, row_rng, row_words

SEEDS = st.integers(0, 2**63 - 1)
SPLITS = st.sampled_from(["train", "validation", "test"])


@given(SEEDS, SPLITS, st.integers(0, 2**40), st.integers(1, 5), st.integers(1, 9))
def test_a_rows_words_do_not_depend_on_who_else_is_asked_for(seed, split, start, count, n):
    words = row_words(seed, split, range(start, start + count), n)
    assert words.shape == (count, n)
    for place in range(count):
        row = start + place
        np.testing.assert_array_equal(row_words(seed, split, range(row, row + 1), n + 2)[0, :n], words[place])
    assert len(np.unique(words)) == words.size


@given(SEEDS, SPLITS, st.integers(0, 2**40))
def test_a_rows_generator_is_its_own(seed, split, row):
    draws = [row_rng(seed, split, number).integers(2**62) for number in (row, row, row + 1)]
    assert draws[0] == draws[1] != draws[2]
    assert row_rng(seed + 1, split, row).integers(2**62) != draws[0]


def test_words_are_uniform_in_every_bit_along_rows_and_along_a_row():
    for words in (row_words(7, "train", range(4096), 1), row_words(7, "train", range(1), 4096)):
        bits = np.unpackbits(words.reshape(-1).view(np.uint8))
        ones = bits.reshape(4096, 64).mean(axis=0)
        assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(4096)


@given(st.integers(1, 2**40), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_numbers_stay_below_their_limit(limit, words):
    numbers = below(np.array(words, dtype=np.uint64), limit)
    assert numbers.min() >= 0
    assert numbers.max() < limit


def test_numbers_below_a_limit_are_uniform():
    numbers = below(row_words(0, "test", range(10_000), 1)[:, 0], 10)
    counts = np.bincount(numbers, minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 9 + 5 * np.sqrt(18)


@pytest.mark.parametrize(
    ("limit", "numbers"),
    [
        (10, [0, 0, 0, 5, 9]),
        (2**32 - 1, [0, 0, 0, 2**31 - 1, 2**32 - 2]),  # the upper half of a word says which
        (2**32, [0, 1, 2**32 - 1, 0, 2**32 - 1]),  # what is left of a division says it
        (2**33, [0, 1, 2**32 - 1, 0, 2**33 - 1]),
    ],
)
def test_numbers_of_known_words(limit: int, numbers: list[int]) -> None:
    words = np.array([0, 1, 2**32 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert below(words, limit).tolist() == numbers
    assert below(words, np.full(5, limit)).tolist() == numbers


def test_sets_of_a_split_are_four_billion_rows_apart() -> None:
    assert numbered_apart(range(3, 5), 0) == range(3, 5)
    assert numbered_apart(range(3, 5), 2) == range(2**33 + 3, 2**33 + 5)
    last = numbered_apart(range(2**32), 6)
    assert last.stop == numbered_apart(range(2**32), 7).start

"""Random numbers by counter: what a row holds follows from (seed, split, row) and nothing else."""

from functools import cache

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import SPLITS, Split

Words = npt.NDArray[np.uint64]

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_rng(seed: int, split: Split, row: int) -> np.random.Generator:
    """Return the generator of one row: a Philox stream of its own (Salmon et al., 2011).

    For a batch of many short rows :func:`row_words` is faster.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, split), counter=[0, 0, 0, row]))


def row_words(seed: int, split: Split, rows: range, n: int) -> Words:
    """Return ``n`` random 64-bit words for each row, (rows, n).

    A row's words are the outputs of SplitMix64 (Steele, Lea & Flood, 2014) from a start that is the row's
    hash; more words of a row begin with the fewer.
    """
    numbers = np.arange(rows.start, rows.stop, dtype=np.uint64)
    start = _mix(_mix(numbers + _key(seed, split)[0]) ^ _key(seed, split)[1])
    steps = np.arange(1, n + 1, dtype=np.uint64) * _INCREMENT
    return _mix(start[:, None] + steps)


def numbered_apart(rows: range, number: int) -> range:
    """Return the rows of a data set that is one of several of a split, so that no two share any.

    Args:
        rows: Rows of the set, each less than 2³².
        number: Which set, less than 2³²: its length, for example.
    """
    return range(rows.start + (number << 32), rows.stop + (number << 32))


def below(words: Words, limit: int | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return whole numbers 0 … limit − 1 from random words, uniform but for limit parts in 2³² or 2⁶⁴."""
    limits = np.asarray(limit, dtype=np.uint64)
    if limits.size and int(limits.max()) >> 32:
        return (words % limits).astype(np.int64)
    return ((words >> np.uint64(32)) * limits >> np.uint64(32)).astype(np.int64)


@cache
def _key(seed: int, split: Split) -> npt.NDArray[np.uint64]:
    return np.random.SeedSequence([seed, SPLITS.index(split)]).generate_state(2, np.uint64).astype(np.uint64)


def _mix(words: Words) -> Words:
    """Return SplitMix64's output function of each word; arithmetic is modulo 2⁶⁴."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))

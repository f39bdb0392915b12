"""The baseline of gaps: what runs of unknown letters decide is found, and what they do not is chance."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqsuite.tasks.base import Baseline, ModelIO, Split
from seqsuite.tasks.gaps import gap_baseline, gap_rates, log_likelihoods
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask

N = 4


def sequence(text: str) -> npt.NDArray[np.uint8]:
    return np.array(["ACGTN".index(letter) for letter in text], np.uint8)


class Gaps(RowTask):
    """A row has two unknown letters: in class 0 beside each other, in class 1 apart."""

    class_names = ("one gap", "two gaps")

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(vocab_size=5, seqlen=32, n_classes=2)

    def row(self, split: Split, row: int) -> tuple[npt.NDArray[Any], np.integer[Any]]:
        rng = row_rng(self.seed, split, row)
        tokens = rng.integers(0, 4, 32)
        at = int(rng.integers(1, 28))
        tokens[[at, at + 1 + row % 2]] = N
        return tokens, np.int64(row % 2)


def test_one_long_gap_is_told_from_two_short_ones() -> None:
    task = Gaps()
    (test,) = task.eval_sets("test")
    batch = task.train_batch(range(64))
    rates = gap_rates([list(batch.inputs[batch.targets == number]) for number in range(2)], N)
    assert gap_baseline(task, test, rates, N) == Baseline("lengths of gaps", 100.0)
    alike = gap_rates([list(batch.inputs)] * 2, N)
    assert gap_baseline(task, test, alike, N).value == pytest.approx(50.0)  # every row is a tie


def test_rates_are_gaps_a_letter_and_those_at_an_end_are_cut_and_do_not_count() -> None:
    rates = gap_rates([[sequence("ANCNNGTNA"), sequence("NNACGTTAN")], [sequence("A" * 9)], []], N)
    assert rates[0, 1:4] * 18 == pytest.approx([2.5, 1.5, 0.5])
    assert rates[1, 1:4] * 9 == pytest.approx([0.5, 0.5, 0.5])
    assert np.isfinite(rates).all()


def test_likelihoods_are_those_of_independent_gaps() -> None:
    rates = gap_rates([[sequence("ANCNNGTNA")], [sequence("ACGNNNGTA")]], N)
    asked = sequence("ANANNAC")
    for rate, found in zip(rates, log_likelihoods(rates, asked, N), strict=True):
        assert found == pytest.approx(math.log(rate[1]) + math.log(rate[2]) - 7 * rate.sum())


def test_the_longest_gaps_are_one_kind() -> None:
    long, longer = ("A" + "N" * length + "A" for length in (200, 300))
    rates = gap_rates([[sequence(long)], [sequence(longer)]], N)
    assert rates[0, -1] * len(long) == rates[1, -1] * len(longer) == 1.5

"""The word baseline of classes: what frequencies decide is found, and what they do not is chance."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqsuite.tasks.base import ModelIO, Split
from seqsuite.tasks.kmers import kmer_baseline
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask


class Words(RowTask):
    """Class 0 has the word 012 at a random place, class 1 the same letters as 210; all else is alike."""

    def __init__(self, *, seed: int = 0, length: int = 12, filler: int = 3) -> None:
        super().__init__(seed=seed)
        self.filler = filler
        self.io = ModelIO(vocab_size=5, seqlen=length, n_classes=2)
        self.class_names = ("up", "down")

    def row(self, split: Split, row: int) -> tuple[npt.NDArray[Any], np.integer[Any]]:
        rng = row_rng(self.seed, split, row)
        kind = row % 2
        tokens = np.full(self.io.seqlen, self.filler)
        at = int(rng.integers(0, self.io.seqlen - 2))
        tokens[at : at + 3] = [[0, 1, 2], [2, 1, 0]][kind]
        return tokens, np.int64(kind)


@pytest.mark.parametrize("filler", [3, 4])  # a letter, and what is none
def test_words_are_told_apart_as_soon_as_they_are_long_enough(filler: int) -> None:
    task = Words(filler=filler)
    (test,) = task.eval_sets("test")
    single, double = kmer_baseline(task, test, k=1), kmer_baseline(task, test, k=2)
    assert single.value == pytest.approx(50.0)  # the same letters: every row is a tie
    assert double.value == 100.0
    assert double.name == "2-letter words"


def test_sequences_shorter_than_a_word_are_no_error() -> None:
    task = Words(length=4)
    (test,) = task.eval_sets("test")
    assert kmer_baseline(task, test).value == pytest.approx(50.0)

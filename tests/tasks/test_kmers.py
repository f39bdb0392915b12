"""The word baseline of classes: what frequencies decide is found, and what they do not is chance."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from seqsuite.tasks.base import Baseline, Batch, EvalSet, ModelIO, Split
from seqsuite.tasks.kmers import kmer_baseline, log_frequencies, log_likelihoods
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
    task = Words(filler=filler, length=4096)  # so that few rows are all the training
    (test,) = task.eval_sets("test")
    single, double = kmer_baseline(task, test, k=1), kmer_baseline(task, test, k=2)
    assert single.value == pytest.approx(50.0)  # the same letters: every row is a tie
    assert double.value == 100.0
    assert double.name == "2-letter words"


def test_sequences_shorter_than_a_word_are_no_error() -> None:
    task = Words(length=5)
    (test,) = task.eval_sets("test")
    frequencies = log_frequencies([[np.zeros(5, np.uint8)], []])
    np.testing.assert_allclose(np.exp(frequencies), np.full((2, 4**6), 1 / 4**6))
    words = kmer_baseline(task, test, frequencies=frequencies)
    assert words == Baseline("6-letter words", 50.0)


def test_words_go_over_blocks_and_never_over_what_is_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequence = rng.integers(0, 5, 500).astype(np.uint8)
    text = "".join("ACGT-"[code] for code in sequence)
    words = [text[i : i + 3] for i in range(498) if "-" not in text[i : i + 3]]
    for block in (7, 2**22):
        monkeypatch.setattr("seqsuite.tasks.kmers.BLOCK", block)
        frequencies = np.exp(log_frequencies([[sequence]], k=3))[0]
        assert frequencies[0b000110] == pytest.approx((words.count("ACG") + 0.5) / (len(words) + 32))
        flat = np.zeros((1, 64))
        flat[0, 0b000110] = 1
        assert log_likelihoods(flat, sequence, k=3) == [words.count("ACG")]


def test_of_more_letters_than_are_counted_each_sequence_has_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seqsuite.tasks.kmers.COUNTED", 100)
    sequences = [np.zeros(300, np.uint8), np.ones(100, np.uint8)]
    frequencies = np.exp(log_frequencies([sequences], k=1))[0]
    np.testing.assert_allclose(frequencies * 102, [75.5, 25.5, 0.5, 0.5])


class Recorded(Words):
    """Notes which training rows are asked for, and gives none."""

    def __init__(self, length: int) -> None:
        super().__init__(length=length)
        self.asked: list[range] = []

    def train_batch(self, rows: range) -> Batch:
        self.asked.append(rows)
        return Batch(np.zeros((0, 1), np.int64), np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("length", "count", "parts"), [(1, 2**15, 128), (2**9, 2**15, 128), (2**15, 512, 2), (2**25, 1, 1)]
)
def test_frequencies_are_of_the_first_rows_as_many_as_have_16_mi_letters(
    length: int, count: int, parts: int
) -> None:
    task = Recorded(length)
    which = EvalSet("test", "all", 1, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "eval_batch", lambda *_: Batch(np.zeros((1, 12), np.int64), np.array([0])))
        assert kmer_baseline(task, which, k=1).value == 100.0
    assert [row for rows in task.asked for row in rows] == list(range(count))
    assert len(task.asked) == parts


class Letters:
    """So many letters that none is kept: it notes where it is cut, and a piece is three letters C."""

    def __init__(self, length: int) -> None:
        self.length, self.cuts = length, list[tuple[int, int]]()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, cut: slice) -> Any:
        self.cuts.append((cut.start or 0, cut.stop))
        if cut.start is None:
            self.piece = Letters(min(cut.stop, self.length))
            return self.piece
        return np.ones(3, np.uint8)


def test_67_million_letters_of_a_class_are_counted_in_blocks_of_four_million() -> None:
    letters: Any = Letters(2**27)
    (frequencies,) = np.exp(log_frequencies([[letters]], k=3))
    assert letters.cuts == [(0, 2**26)]
    assert letters.piece.cuts == [(2**22 * n, 2**22 * (n + 1) + 2) for n in range(16)]
    assert frequencies[0b010101] == pytest.approx(16.5 / (16 + 32))
    shorter: Any = Letters(2**26)
    log_frequencies([[shorter]], k=1)
    assert shorter.cuts == [(0, 2**26)]

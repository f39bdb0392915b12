"""What the frequencies of short words say of a sequence's class: a baseline for tasks of whole sequences."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import Baseline, EvalSet, Task

K = 6
_LETTERS = 4  # ids below are letters; those above, such as N, break a word
COUNTED = 2**26  # letters of a class that are counted at most: of more, the same share of each sequence
_TRAINING_TOKENS = 2**24
_TRAINING_ROWS = 2**15
_ROWS = 256  # rows read at a time
BLOCK = 2**22  # letters whose words are made at once

Letters = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


def kmer_baseline(task: Task, which: EvalSet, k: int = K, frequencies: Floats | None = None) -> Baseline:
    """Return the accuracy of naive Bayes on the k-letter words of a sequence, in percent.

    What a model has beyond this, it has from the order of words.

    Args:
        task: A task of whole sequences whose ids 0 to 3 are letters.
        which: The evaluation set.
        k: Letters of a word.
        frequencies: Those of the words, as :func:`log_frequencies` gives them; by default in the task's first
            training rows, as many as have 16 Mi letters, at most 32 Ki rows.
    """
    frequencies = log_frequencies(_rows_by_class(task), k) if frequencies is None else frequencies
    right = share_right(task, which, lambda sequence: log_likelihoods(frequencies, sequence, k))
    return Baseline(f"{k}-letter words", right)


def share_right(task: Task, which: EvalSet, score: Callable[[Letters], Floats]) -> float:
    """Return of how many rows of an evaluation set, in percent, the class of the highest score is right.

    Args:
        task: A task of whole sequences.
        which: The evaluation set.
        score: Gives the score of each class (classes,) for a sequence (L,).
    """
    right = 0
    for rows in _in_parts(which.rows):
        batch = task.eval_batch(which, rows)
        for inputs, target in zip(batch.inputs, batch.targets, strict=True):
            right += int(score(inputs).argmax()) == int(target)
    return 100 * right / which.rows


def log_frequencies(classes: Sequence[Sequence[Letters]], k: int = K) -> Floats:
    """Return the logarithm of each word's frequency in each class (classes, 4^k).

    Half a word is added to each count. At most 67 million letters of a class are counted.

    Args:
        classes: Sequences (L,) of each class, whose ids 0 to 3 are letters.
        k: Letters of a word.
    """
    counts = np.full((len(classes), _LETTERS**k), 0.5)
    for number, sequences in enumerate(classes):
        share = COUNTED / max(sum(map(len, sequences)), COUNTED)
        for sequence in sequences:
            counts[number] += count_words(sequence[: round(share * len(sequence))], k)
    logarithms: Floats = np.log(counts / counts.sum(axis=1, keepdims=True))
    return logarithms


def count_words(sequence: Letters, k: int = K) -> npt.NDArray[np.int64]:
    """Return how often each word of k letters occurs in a sequence (L,): counts (4^k,)."""
    counts = np.zeros(_LETTERS**k, np.int64)
    for words in _words(sequence, k):
        counts += np.bincount(words, minlength=len(counts))
    return counts


def log_likelihoods(frequencies: Floats, sequence: Letters, k: int = K) -> Floats:
    """Return how likely a sequence (L,) is in each class (classes,), by :func:`log_frequencies` of it."""
    likelihoods: Floats = sum(
        (frequencies[:, words].sum(axis=1) for words in _words(sequence, k)), np.zeros(len(frequencies))
    )
    return likelihoods


def _rows_by_class(task: Task) -> list[list[Letters]]:
    assert task.io.n_classes is not None
    found: list[list[Letters]] = [[] for _ in range(task.io.n_classes)]
    for rows in _in_parts(max(1, min(_TRAINING_ROWS, _TRAINING_TOKENS // task.io.seqlen))):
        batch = task.train_batch(rows)
        for inputs, target in zip(batch.inputs, batch.targets, strict=True):
            found[int(target)].append(inputs.astype(np.uint8))
    return found


def _words(sequence: Letters, k: int) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the numbers of all words in a sequence (L,) that have only letters, block by block."""
    for start in range(0, len(sequence) - k + 1, BLOCK):
        block = sequence[start : start + BLOCK + k - 1]
        count = len(block) - k + 1
        words, known = np.zeros(count, np.int32), np.ones(count, np.bool_)
        for place in range(k):
            letters = block[place : place + count]
            known &= letters < _LETTERS
            words = words * _LETTERS + letters.astype(np.int32)
        yield words[known]


def _in_parts(rows: int) -> list[range]:
    return [range(start, min(start + _ROWS, rows)) for start in range(0, rows, _ROWS)]

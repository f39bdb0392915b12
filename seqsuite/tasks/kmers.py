"""What the frequencies of short words say of a sequence's class: a baseline for tasks of whole sequences."""

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import Baseline, EvalSet, Task

K = 6
_LETTERS = 4  # ids below are letters; those above, such as N, break a word
_TRAINING_TOKENS = 2**24
_TRAINING_ROWS = 2**15
_ROWS = 256  # rows read at a time


def kmer_baseline(task: Task, which: EvalSet, k: int = K) -> Baseline:
    """Return the accuracy of naive Bayes on the k-letter words of a sequence, in percent.

    Words are counted by class in the task's first training rows: as many as have 16 Mi letters, at most 32 Ki
    rows. Half a word is added to each count. What a model has beyond this, it has from the order of words.

    Args:
        task: A task of whole sequences whose ids 0 to 3 are letters.
        which: The evaluation set.
        k: Letters of a word.
    """
    scores = _log_frequencies(task, k)
    right = 0
    for rows in _in_parts(which.rows):
        batch = task.eval_batch(which, rows)
        for inputs, target in zip(batch.inputs, batch.targets, strict=True):
            right += int(scores[:, _words(inputs[None], k)].sum(axis=1).argmax()) == int(target)
    return Baseline(f"{k}-letter words", 100 * right / which.rows)


def _log_frequencies(task: Task, k: int) -> npt.NDArray[np.float64]:
    """Return the logarithm of each word's frequency in each class (classes, 4^k)."""
    assert task.io.n_classes is not None
    counts = np.full((task.io.n_classes, _LETTERS**k), 0.5)
    for rows in _in_parts(max(1, min(_TRAINING_ROWS, _TRAINING_TOKENS // task.io.seqlen))):
        batch = task.train_batch(rows)
        for number in range(task.io.n_classes):
            ours = batch.inputs[batch.targets == number]
            counts[number] += np.bincount(_words(ours, k), minlength=counts.shape[1])
    logarithms: npt.NDArray[np.float64] = np.log(counts / counts.sum(axis=1, keepdims=True))
    return logarithms


def _words(inputs: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """Return the numbers of all words in sequences (B, L) that have only letters, (W,)."""
    if inputs.shape[1] < k:
        return np.zeros(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(inputs, k, axis=1)
    known = (windows < _LETTERS).all(axis=2)
    return windows[known] @ (_LETTERS ** np.arange(k - 1, -1, -1))


def _in_parts(rows: int) -> list[range]:
    return [range(start, min(start + _ROWS, rows)) for start in range(0, rows, _ROWS)]

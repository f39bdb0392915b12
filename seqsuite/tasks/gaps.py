"""What the gaps of a sequence, its runs of unknown letters, say of its class: a baseline for genomes.

An assembly leaves marks that are of the sequencing and not of the species: single letters that could not be
told, and gaps of a nominal length. A model sees them, too; what it has beyond this, it has from the letters.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import Baseline, EvalSet, Task
from seqsuite.tasks.kmers import Floats, Letters, share_right
from seqsuite.tasks.sources.targets import known_runs

_LONGEST = 200  # longer gaps are taken to be of this length


def gap_baseline(task: Task, which: EvalSet, rates: Floats, unknown: int) -> Baseline:
    """Return the accuracy of naive Bayes on how many gaps of each length a sequence has, in percent.

    Args:
        task: A task of whole sequences.
        which: The evaluation set.
        rates: Those of all training data, as :func:`gap_rates` gives them.
        unknown: The id of what is no letter.
    """
    right = share_right(task, which, lambda sequence: log_likelihoods(rates, sequence, unknown))
    return Baseline("lengths of gaps", right)


def gap_rates(classes: Sequence[Sequence[Letters]], unknown: int) -> Floats:
    """Return how many gaps of each length there are a letter, in each class (classes, lengths).

    Half a gap is added to each count.

    Args:
        classes: Sequences (L,) of each class.
        unknown: The id of what is no letter.
    """
    counts = np.full((len(classes), _LONGEST + 1), 0.5)
    for number, sequences in enumerate(classes):
        for sequence in sequences:
            counts[number] += np.bincount(gap_lengths(sequence, unknown), minlength=_LONGEST + 1)
    letters = np.array([max(sum(map(len, sequences)), 1) for sequences in classes])
    rates: Floats = counts / letters[:, None]
    return rates


def log_likelihoods(rates: Floats, sequence: Letters, unknown: int) -> Floats:
    """Return how likely the gaps of a sequence (L,) are in each class (classes,), each gap for itself."""
    gaps = np.log(rates[:, gap_lengths(sequence, unknown)])
    found: Floats = gaps.sum(axis=1) - len(sequence) * rates.sum(axis=1)
    return found


def gap_lengths(sequence: Letters, unknown: int) -> npt.NDArray[np.int64]:
    """Return the lengths of the gaps in a sequence (L,); those at its ends are cut and tell nothing."""
    known = known_runs(sequence, unknown)
    lengths: npt.NDArray[np.int64] = np.minimum(known.starts[1:] - known.ends[:-1], _LONGEST)
    return lengths

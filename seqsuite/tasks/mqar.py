"""Multi-query associative recall: what was said beside each of many keys?"""

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from seqsuite.errors import UserError
from seqsuite.options import PositiveFloat, PositiveInt
from seqsuite.tasks.base import IGNORE, Array, Baseline, Batch, EvalSet, Ints, ModelIO, Split, Task
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.random import Words, below, numbered_apart, row_words

BLANK = 0
"""Token id of what stands between questions."""


class _Part(NamedTuple):
    """Sequences of one length with one number of pairs, and their share of training in thousands."""

    length: int
    pairs: int
    share: int


TRAINING = (_Part(64, 4, 100), _Part(128, 8, 20), _Part(256, 16, 20), _Part(256, 32, 20), _Part(256, 64, 20))
"""What ``protocol=mixed`` trains on."""
TEST = (*((64, pairs) for pairs in (4, 8, 16)), (128, 32), (256, 64), (512, 128), (1024, 256))
"""What it is tested on: lengths and pairs."""


class MQAR(Task):
    """Multi-query associative recall: pairs of a key and its value, then each key again: what was its value?

    Of the ``vocab_size`` ids, 0 is blank, those below half of it are keys and the others values. The keys of
    a sequence are distinct, its values any. After the pairs, each key is asked for once, at every second
    position at most, and blanks fill the rest; the target at a key that is asked for is its value. The j-th
    such place is asked at with a weight of j^(a − 1), where a is ``power``: most questions come early.
    Training data is fresh for every row; with ``protocol=mixed`` its rows are of the published five kinds,
    in their shares, and padded. Test sets are named ``length_<L>_pairs_<P>``; the first, which models are
    ranked by, is that of training, and of the mixture the last kind.

    Task of Arora et al. (*Zoology*, arXiv 2312.04927).

    Args:
        seed: Seed of all the data.
        length: Length of training sequences.
        pairs: Number of pairs in them.
        protocol: ``fixed``: all training sequences are of ``length`` and ``pairs``, and tested with half and
            with twice of both beside; ``mixed``: the published mixture, in which these two count for nothing.
        vocab_size: Number of token ids.
        power: How late questions come; 1 is uniform.
        eval_examples: Number of sequences in each evaluation set.

    Raises:
        UserError: if pairs and questions do not fit into the length, or there are too few keys.
    """

    def __init__(
        self,
        *,
        seed: int,
        length: PositiveInt = 128,
        pairs: PositiveInt = 16,
        protocol: Literal["fixed", "mixed"] = "fixed",
        vocab_size: Annotated[int, Field(ge=4, le=2**20)] = 8192,
        power: PositiveFloat = 0.01,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(seed=seed)
        self.length, self.pairs, self.is_mixed = length, pairs, protocol == "mixed"
        if self.is_mixed:
            test = sorted(TEST, key=lambda kind: kind != TRAINING[-1][:2])
        else:
            test = [
                (length, pairs),
                *([(length // 2, pairs // 2)] if pairs > 1 else []),
                (2 * length, 2 * pairs),
            ]
        self.sets = {f"length_{n}_pairs_{k}": (n, k) for n, k in test}
        self.vocab_size, self.power, self.eval_examples = vocab_size, power, eval_examples
        self._check(length, pairs)
        longest = max(part.length for part in TRAINING) if self.is_mixed else length
        self.io = ModelIO(
            vocab_size=vocab_size, seqlen=longest, eval_seqlen=max(n for n, _ in self.sets.values())
        )

    def train_batch(self, rows: range) -> Batch:
        """Return fresh sequences, of different lengths if they are of a mixture."""
        if not self.is_mixed:
            return self._generate("train", rows, self.length, self.pairs)
        parts = self._parts(rows)
        longest = max(part.length for part in parts)
        inputs = np.full((len(rows), longest), BLANK, dtype=np.int64)
        targets = np.full_like(inputs, IGNORE)
        lengths = np.array([part.length for part in parts])
        for place, (row, part) in enumerate(zip(rows, parts, strict=True)):
            one = self._generate("train", range(row, row + 1), part.length, part.pairs)
            (inputs[place, : part.length],), (targets[place, : part.length],) = one.inputs, one.targets
        return Batch(inputs, targets, lengths=lengths if (lengths < longest).any() else None)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the set that models are ranked by; of the test also others, by length and pairs."""
        names = list(self.sets)[: None if split == "test" else 1]
        return tuple(EvalSet(split, name, self.eval_examples, self.sets[name][0]) for name in names)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return sequences of an evaluation set."""
        length, pairs = self.sets[which.name]
        apart = numbered_apart(rows, pairs * (max(n for n, _ in self.sets.values()) + 1) + length)
        return self._generate(which.split, apart, length, pairs)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing any value of the vocabulary, in percent."""
        return (Baseline("chance", 100.0 / (self.vocab_size - self.vocab_size // 2)),)

    def prompt(self) -> TokenIds:
        """Return the first test sequence up to and with its first question."""
        first, *_ = self.eval_sets("test")
        batch = self.eval_batch(first, range(1))
        tokens: TokenIds
        (tokens,), (answers,) = batch.inputs, batch.targets
        return tokens[: int((answers != IGNORE).argmax()) + 1]

    def _check(self, length: int, pairs: int) -> None:
        for n, k in self.sets.values():
            if n < 4 * k:
                raise UserError(
                    f"task.pairs={pairs} pairs and as many questions, with gaps, take {4 * pairs} positions, "
                    f"and task.length={length}: choose fewer pairs or a longer sequence."
                )
            if k > self.vocab_size // 2 - 1:
                raise UserError(
                    f"task.vocab_size={self.vocab_size} has {self.vocab_size // 2 - 1} keys, and {k} are "
                    "needed at once: choose a larger vocabulary or fewer pairs."
                )

    def _parts(self, rows: range) -> list[_Part]:
        """Return which part of the mixture each training row is of."""
        ends = np.cumsum([part.share for part in TRAINING])
        (words,) = row_words(self.seed, "train", numbered_apart(rows, 2**32 - 1), 1).T
        drawn = np.searchsorted(ends, below(words, int(ends[-1])), side="right")
        return [TRAINING[number] for number in drawn.tolist()]

    def _generate(self, split: Split, rows: range, length: int, pairs: int) -> Batch:
        half, places = self.vocab_size // 2, (length - 2 * pairs) // 2
        words = row_words(self.seed, split, rows, pairs + places + half - 1)
        values = half + below(words[:, :pairs], self.vocab_size - half)
        asked = 2 * pairs + 2 * _weighted_places(words[:, pairs : pairs + places], pairs, self.power)
        keys = 1 + _distinct(words[:, pairs + places :], pairs)
        inputs = np.full((len(rows), length), BLANK, dtype=np.int64)
        inputs[:, : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = keys, values
        np.put_along_axis(inputs, asked, keys, axis=1)
        targets = np.full_like(inputs, IGNORE)
        np.put_along_axis(targets, asked, values, axis=1)
        return Batch(inputs, targets)


def _distinct(words: Words, count: int) -> Ints:
    """Return for each row of N random words ``count`` distinct numbers below N, in random order."""
    smallest = np.argpartition(words, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(words, smallest, axis=1), axis=1)
    return np.take_along_axis(smallest, order, axis=1)


def _weighted_places(words: Words, count: int, power: float) -> Ints:
    """Draw ``count`` of N places without replacement, in random order, by weights (j + 1)^(a − 1).

    Exponential times of rates as the weights: who comes first is drawn by weight, and so is who comes next.
    """
    weights: Array = np.arange(1, words.shape[1] + 1) ** (power - 1.0)
    times = -np.log((words >> np.uint64(11)).astype(np.float64) / 2**53 + 2.0**-54) / weights
    return np.argsort(times, axis=1)[:, :count]

"""A needle in a haystack: recall a number that was said once, somewhere in a long text."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt
from seqsuite.tasks.base import IGNORE, Baseline, Batch, EvalSet, Ints, ModelIO, Split, Task
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.random import Words, below, numbered_apart, row_words

NEEDLE, QUESTION, HAY = 10, 11, 12
"""Tokens: a digit is its own; one marks the needle, one asks for it; from ``HAY`` on are words of the hay."""

_PERIOD = 24
"""Words of the sentence that the repeated haystack is made of."""
_LARGEST_SET = 2**22
_FEWEST_ROWS = 8


class Needle(Task):
    """Needle in a haystack: a number stands once in a long text, and is asked for at the end.

    The needle is a mark and ``digits`` digits, at a uniformly random place in a haystack that is one sentence
    of 24 words over and over, as in the first of RULER's needle tasks (NIAH-1, arXiv 2404.06654), or random
    words. At the end stand a question mark and all digits but the last; there the targets are the digits.
    The test sets are named ``length_<L>``: the first is that of training's length, which models are ranked
    by, and then each is twice as long up to ``max_length``. Sets above ``longest_whole`` are fed in pieces
    with the state carried on: a model whose state grows, or that has learned positions, is not measured on
    them.

    Args:
        seed: Seed of all the data.
        length: Length of training sequences.
        max_length: Length that no test sequence exceeds.
        longest_whole: Length of the longest sequences that are fed whole.
        digits: Number of digits of the needle.
        hay: ``repeated``: a sentence over and over; ``random``: random words.
        hay_words: Number of words that the haystack is made of.
        eval_examples: Number of sequences in each evaluation set; at lengths at which these have more than 4
            Mi tokens, fewer, but 8 at least.

    Raises:
        UserError: if needle and question do not fit into ``length``.
    """

    def __init__(
        self,
        *,
        seed: int,
        length: PositiveInt = 256,
        max_length: Annotated[int, Field(ge=1, le=2**24)] = 4096,
        longest_whole: PositiveInt = 16384,
        digits: PositiveInt = 7,
        hay: Literal["repeated", "random"] = "repeated",
        hay_words: PositiveInt = 20,
        eval_examples: PositiveInt = 256,
    ) -> None:
        super().__init__(seed=seed)
        if length <= 2 * digits + 1:
            raise UserError(
                f"task.digits={digits} twice, as needle and in the question, do not fit into "
                f"task.length={length}: choose fewer digits or a longer sequence."
            )
        self.length, self.max_length, self.digits = length, max_length, digits
        self.hay, self.hay_words, self.eval_examples = hay, hay_words, eval_examples
        longest = max(length, min(max_length, longest_whole))
        self.io = ModelIO(vocab_size=HAY + hay_words, seqlen=length, eval_seqlen=longest)

    def train_batch(self, rows: range) -> Batch:
        """Return fresh sequences."""
        return self._generate("train", rows, self.length)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the set of training's length; of the test also twice, four times … as long ones."""
        lengths = [self.length]
        while split == "test" and 2 * lengths[-1] <= self.max_length:
            lengths.append(2 * lengths[-1])
        return tuple(EvalSet(split, f"length_{n}", self._rows(n), n) for n in lengths)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return sequences of an evaluation set."""
        return self._generate(which.split, numbered_apart(rows, which.seqlen), which.seqlen)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing a digit, in percent."""
        return (Baseline("chance", 10.0),)

    def prompt(self) -> TokenIds:
        """Return the first test sequence up to and with its question mark, which asks for the digits."""
        first, *_ = self.eval_sets("test")
        tokens: TokenIds
        (tokens,) = self.eval_batch(first, range(1)).inputs
        return tokens[: self.length - self.digits + 1]

    def _rows(self, length: int) -> int:
        return min(self.eval_examples, max(_LARGEST_SET // length, _FEWEST_ROWS))

    def _generate(self, split: Split, rows: range, length: int) -> Batch:
        K = self.digits
        words = row_words(self.seed, split, rows, length)
        inputs = self._haystack(words)
        # The words of the last K + 1 places are not needed for hay: they make the digits and the place.
        digits, start = below(words[:, -K:], 10), below(words[:, -K - 1], length - 2 * K)
        np.put_along_axis(inputs, start[:, None], NEEDLE, axis=1)
        np.put_along_axis(inputs, start[:, None] + 1 + np.arange(K), digits, axis=1)
        inputs[:, -K] = QUESTION
        inputs[:, length - K + 1 :] = digits[:, :-1]
        targets = np.full_like(inputs, IGNORE)
        targets[:, -K:] = digits
        return Batch(inputs, targets)

    def _haystack(self, words: Words) -> Ints:
        """Return words of the hay (B, L), from as many random ones."""
        if self.hay == "random":
            return HAY + below(words, self.hay_words)
        (drawn,) = row_words(self.seed, "train", numbered_apart(range(1), 1), _PERIOD)
        sentence = HAY + below(drawn, self.hay_words)
        return np.tile(np.resize(sentence, words.shape[1]), (len(words), 1))

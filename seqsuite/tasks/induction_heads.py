"""Induction heads: recall the token that came after a special one, however long ago."""

from typing import Annotated

import numpy as np
from pydantic import Field

from seqsuite.options import PositiveInt
from seqsuite.tasks.base import IGNORE, Baseline, Batch, EvalSet, ModelIO, Split, Task
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.random import below, numbered_apart, row_words

_SHORTEST = 64
"""Length of the shortest test set."""
_LARGEST_SET = 2**22
"""Tokens of a test set: of long sequences there are fewer rows than of short ones."""
_FEWEST_ROWS = 8


class InductionHeads(Task):
    """Induction heads: at the end of a sequence, output the token that once followed the special token.

    Of the ``vocab_size`` ids the last is the special token and all others are drawn uniformly. It stands at a
    uniformly random place, and again at the end of the sequence, where the target is the token that followed
    it the first time; nothing else counts. Training data is fresh for every row. The test sets are named
    ``length_64``, ``length_128`` … up to ``max_length``, and the first is that of training's length, which
    models are ranked by. Sets above ``longest_whole`` are fed in pieces with the state carried on: a model
    whose state grows with the length, or that has learned positions, is not measured on them.

    Task of Gu & Dao (arXiv 2312.00752), section 3.1, Tables 2 and 11: ``length=256``, ``max_length=1048576``.

    Args:
        seed: Seed of all the data.
        length: Length of training sequences.
        max_length: Length of the longest test sequences.
        longest_whole: Length of the longest sequences that are fed whole.
        vocab_size: Number of token ids, the special one included.
        eval_examples: Number of sequences in each evaluation set; at lengths at which these have more than 4
            Mi tokens, fewer, but 8 at least.
    """

    def __init__(
        self,
        *,
        seed: int,
        length: Annotated[int, Field(ge=4)] = 256,
        max_length: Annotated[int, Field(ge=4, le=2**24)] = 16384,
        longest_whole: PositiveInt = 16384,
        vocab_size: Annotated[int, Field(ge=3, le=2**31)] = 16,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(seed=seed)
        self.length, self.max_length = length, max_length
        self.vocab_size, self.eval_examples = vocab_size, eval_examples
        longest = max(length, min(max_length, longest_whole))
        self.io = ModelIO(vocab_size=vocab_size, seqlen=length, eval_seqlen=longest)

    @property
    def special(self) -> int:
        """Token id of the special token."""
        return self.vocab_size - 1

    def train_batch(self, rows: range) -> Batch:
        """Return fresh sequences."""
        return self._generate("train", rows, self.length)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the set of training's length; of the test also those of all powers of two."""
        lengths = [self.length]
        if split == "test":
            further = (
                1 << power for power in range(_SHORTEST.bit_length() - 1, self.max_length.bit_length())
            )
            lengths += [length for length in further if length != self.length]
        return tuple(EvalSet(split, f"length_{n}", self._rows(n), n) for n in lengths)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return sequences of an evaluation set."""
        return self._generate(which.split, numbered_apart(rows, which.seqlen), which.seqlen)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing any token but the special one, in percent."""
        return (Baseline("chance", 100.0 / (self.vocab_size - 1)),)

    def prompt(self) -> TokenIds:
        """Return the first test sequence."""
        first, *_ = self.eval_sets("test")
        tokens: TokenIds
        (tokens,) = self.eval_batch(first, range(1)).inputs
        return tokens

    def _rows(self, length: int) -> int:
        return min(self.eval_examples, max(_LARGEST_SET // length, _FEWEST_ROWS))

    def _generate(self, split: Split, rows: range, length: int) -> Batch:
        words = row_words(self.seed, split, rows, length)
        inputs = below(words, self.special)
        # The word of the last place is not needed for a token: it says where the special token stands.
        place = below(words[:, -1], length - 2)[:, None]
        np.put_along_axis(inputs, place, self.special, axis=1)
        inputs[:, -1] = self.special
        targets = np.full_like(inputs, IGNORE)
        targets[:, -1:] = np.take_along_axis(inputs, place + 1, axis=1)
        return Batch(inputs, targets)

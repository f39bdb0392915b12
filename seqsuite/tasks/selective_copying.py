"""Selective copying: recall the data tokens that stand at random places among noise."""

import string
from typing import Annotated

import numpy as np
from pydantic import Field

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt
from seqsuite.tasks.base import ACCURACY, IGNORE, Baseline, Batch, EvalSet, Ints, ModelIO, Split, Task
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.random import Words, below, row_words

NOISE = 0
"""Token id of the noise between data tokens."""


class SelectiveCopying(Task):
    """Selective copying: output, in order, the data tokens that stood at random places among noise.

    The first ``length`` positions hold ``num_tokens`` data tokens at uniformly random distinct places and
    noise everywhere else; then come ``num_tokens`` copy markers, and the target at the i-th marker is the
    i-th data token. The input sequence is therefore ``length + num_tokens`` long. Of the ``vocab_size``
    ids, 0 is noise, ``vocab_size - 1`` is the copy marker, and those between are data. Training data is
    fresh for every row; the evaluation sets depend only on the seed.

    Task of Gu & Dao (arXiv 2312.00752), section 3.1 and Table 1, which uses ``length=4096``.

    Args:
        seed: Seed of all the data.
        length: Number of positions that data tokens and noise share.
        vocab_size: Number of token ids, noise and copy marker included.
        num_tokens: Number of data tokens to copy.
        eval_examples: Number of sequences in each evaluation set.

    Raises:
        UserError: if ``num_tokens`` exceeds ``length``.
    """

    metrics = (ACCURACY,)

    def __init__(
        self,
        *,
        seed: int,
        length: PositiveInt = 256,
        vocab_size: Annotated[int, Field(ge=4, le=2**31)] = 16,
        num_tokens: PositiveInt = 16,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(seed=seed)
        if num_tokens > length:
            raise UserError(
                f"task.num_tokens={num_tokens} data tokens do not fit into task.length={length} positions: "
                "use fewer tokens or a longer sequence."
            )
        self.length = length
        self.vocab_size = vocab_size
        self.num_tokens = num_tokens
        self.eval_examples = eval_examples
        self.io = ModelIO(vocab_size=vocab_size, seqlen=length + num_tokens)

    @property
    def marker(self) -> int:
        """Token id of the copy marker."""
        return self.vocab_size - 1

    def train_batch(self, rows: range) -> Batch:
        """Return fresh sequences."""
        return self._generate("train", rows)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the one set of ``eval_examples`` sequences."""
        return (EvalSet(split, "all", self.eval_examples, self.io.seqlen),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return sequences of an evaluation set."""
        return self._generate(which.split, rows)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing a data symbol, in percent."""
        return (Baseline("chance", 100.0 / (self.vocab_size - 2)),)

    def prompt(self) -> TokenIds:
        """Return the first test sequence up to and with its first marker, which asks for a data token."""
        tokens: TokenIds
        (tokens,) = self._generate("test", range(1)).inputs
        return tokens[: self.length + 1]

    def show(self, tokens: TokenIds) -> str:
        """Return noise as ``.``, markers as ``|`` and data as letters (``<id>`` where letters run out)."""
        return "".join(self._symbol(int(token)) for token in tokens)

    def places(self, words: Words) -> Ints:
        """Return in order where the K data tokens stand (B, K), from L random words a row (B, L)."""
        K = self.num_tokens
        # The K smallest of L random keys mark a uniformly random set of K places.
        return np.sort(np.argpartition(words, K - 1, axis=1)[:, :K], axis=1)

    def _symbol(self, token: int) -> str:
        if token == NOISE:
            return "."
        if token == self.marker:
            return "|"
        return string.ascii_letters[token - 1] if token <= len(string.ascii_letters) else f"<{token}>"

    def _generate(self, split: Split, rows: range) -> Batch:
        K = self.num_tokens
        words = row_words(self.seed, split, rows, K + self.length)
        data = 1 + below(words[:, :K], self.marker - 1)
        inputs = np.full((len(rows), self.length + K), NOISE, dtype=np.int64)
        inputs[:, self.length :] = self.marker
        np.put_along_axis(inputs, self.places(words[:, K:]), data, axis=1)
        targets = np.full_like(inputs, IGNORE)
        targets[:, self.length :] = data
        return Batch(inputs, targets)

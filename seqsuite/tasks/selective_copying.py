"""Selective copying: recall the data tokens that stand at random places among noise."""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, Batch, PaperRow, Split, Task, TaskSpec, TokenIds, batch_rng

NOISE = 0
"""Token id of the noise between data tokens."""

_PROTOCOL = "L = 4096, vocabulary 16, 16 data tokens, 2 layers, D = 64, 400 K steps"
_SOURCE = "Gu & Dao, arXiv 2312.00752v2, Table 1"
_PAPER = tuple(
    PaperRow(model, "accuracy", value, _PROTOCOL, _SOURCE)
    for model, value in [
        ("S4 (no block)", 18.3),
        ("S6 (no block)", 97.0),
        ("H3 block, S4", 57.0),
        ("H3 block, Hyena", 30.1),
        ("H3 block, S6", 99.7),
        ("Mamba block, S4", 56.4),
        ("Mamba block, Hyena", 28.4),
        ("Mamba block, S6", 99.8),
    ]
)


class SelectiveCopying(Task):
    """Selective copying: output, in order, the data tokens that stood at random places among noise.

    The first ``length`` positions hold ``num_tokens`` data tokens at uniformly random distinct places and
    noise everywhere else; then come ``num_tokens`` copy markers, and the target at the i-th marker is the
    i-th data token. The input sequence is therefore ``length + num_tokens`` long. Of the ``vocab_size``
    ids, 0 is noise, ``vocab_size - 1`` is the copy marker, and those between are data. Training data is
    fresh for every batch; the evaluation sets depend only on the seed.

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

    def __init__(
        self,
        *,
        seed: int,
        length: Annotated[int, Field(gt=0)] = 256,
        vocab_size: Annotated[int, Field(ge=4)] = 16,
        num_tokens: Annotated[int, Field(gt=0)] = 16,
        eval_examples: Annotated[int, Field(gt=0)] = 512,
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
        self._eval_sets: dict[Split, Batch] = {}

    @property
    def marker(self) -> int:
        """Token id of the copy marker."""
        return self.vocab_size - 1

    @property
    def spec(self) -> TaskSpec:
        """What the task feeds and expects."""
        return TaskSpec(
            vocab_size=self.vocab_size,
            seqlen=self.length + self.num_tokens,
            unit="token",
            metric="accuracy",
            higher_is_better=True,
            train_examples=None,
            sample_suffix=None,
            paper=_PAPER,
        )

    def batch(self, split: Split, index: int, batch_size: int) -> Batch:
        """Return fresh sequences for training, or a slice of the fixed evaluation set."""
        if split == "train":
            return self._generate(batch_rng(self.seed, split, index), batch_size)
        rows = slice(index * batch_size, (index + 1) * batch_size)
        inputs, targets = self._eval_set(split)
        return Batch(inputs[rows], targets[rows])

    def num_eval_batches(self, split: Split, batch_size: int) -> int:
        """Return how many batches cover the ``eval_examples`` sequences."""
        return -(-self.eval_examples // batch_size)

    def baseline(self, split: Split) -> tuple[str, float]:
        """Return the accuracy of guessing a data symbol, in percent."""
        return "chance", 100.0 / (self.vocab_size - 2)

    def prompt(self) -> TokenIds:
        """Return the first test sequence up to and with its first marker, which asks for a data token."""
        return self._eval_set("test").inputs[0, : self.length + 1].copy()

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return noise as ``.``, markers as ``|`` and data as letters (``<id>`` where letters run out)."""
        return "".join(self._symbol(int(token)) for token in tokens)

    def render(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the decoded tokens as a line of text."""
        path.write_text(self.decode(tokens) + "\n", encoding="utf-8")

    def _symbol(self, token: int) -> str:
        if token == NOISE:
            return "."
        if token == self.marker:
            return "|"
        return string.ascii_letters[token - 1] if token <= len(string.ascii_letters) else f"<{token}>"

    def _eval_set(self, split: Split) -> Batch:
        # Drawn whole, so that the set is the same whatever the evaluation's batch size.
        if split not in self._eval_sets:
            self._eval_sets[split] = self._generate(batch_rng(self.seed, split, 0), self.eval_examples)
        return self._eval_sets[split]

    def _generate(self, rng: np.random.Generator, batch_size: int) -> Batch:
        K = self.num_tokens
        data = rng.integers(1, self.marker, size=(batch_size, K))
        # The K smallest of L random keys mark a uniformly random set of K places.
        keys = rng.random((batch_size, self.length))
        places = np.sort(np.argpartition(keys, K - 1, axis=1)[:, :K], axis=1)

        inputs = np.full((batch_size, self.length + K), NOISE, dtype=np.int64)
        inputs[:, self.length :] = self.marker
        np.put_along_axis(inputs, places, data, axis=1)
        targets = np.full_like(inputs, IGNORE)
        targets[:, self.length :] = data
        return Batch(inputs, targets)

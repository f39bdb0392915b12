"""Ordinary copying: recall data tokens whose places are always the same."""

from typing import Annotated

import numpy as np
from pydantic import Field

from seqsuite.options import PositiveInt
from seqsuite.tasks.base import Ints
from seqsuite.tasks.random import Words
from seqsuite.tasks.selective_copying import SelectiveCopying


class Copying(SelectiveCopying):
    """Copying: output, in order, the data tokens that the sequence began with, after a stretch of noise.

    All else is as in :class:`~seqsuite.tasks.selective_copying.SelectiveCopying`, but each token is to be
    repeated exactly ``length`` positions later, whatever the tokens are: a time-invariant convolution can do
    that, which makes this the contrast to the selective task (Gu & Dao, arXiv 2312.00752, Figure 2).

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
        length: PositiveInt = 256,
        vocab_size: Annotated[int, Field(ge=4, le=2**31)] = 16,
        num_tokens: PositiveInt = 16,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(
            seed=seed,
            length=length,
            vocab_size=vocab_size,
            num_tokens=num_tokens,
            eval_examples=eval_examples,
        )

    def places(self, words: Words) -> Ints:
        """Return the first K places of every row (B, K)."""
        return np.broadcast_to(np.arange(self.num_tokens), (len(words), self.num_tokens))

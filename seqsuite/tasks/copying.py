"""Ordinary copying: recall data tokens whose places are always the same."""

import numpy as np

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

    def places(self, words: Words) -> Ints:
        """Return the first K places of every row (B, K)."""
        return np.broadcast_to(np.arange(self.num_tokens), (len(words), self.num_tokens))

"""A task of five random tokens a row, of which not all are targets."""

from abc import abstractmethod

import numpy as np

from seqsuite.tasks.base import ModelIO
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask


class FiveTokens(RowTask):
    """Its :meth:`targets` says which tokens count."""

    eval_rows = 4

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(vocab_size=4, seqlen=5)

    def row(self, split, row):
        tokens = row_rng(self.seed, split, row).integers(0, 4, 5)
        return tokens, self.targets(row, tokens)

    @abstractmethod
    def targets(self, row: int, tokens: np.ndarray) -> np.ndarray:
        """Return the tokens (5,) of a row, IGNORE where they do not count."""

"""The shortest way to write a task: one function that makes one row."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import IGNORE, Array, Batch, EvalSet, Split, Task
from seqsuite.tasks.checks import Row, checked_row


class RowTask(Task):
    """A task whose rows are made one by one; a subclass sets ``io`` and gives :meth:`row`.

    Rows of different lengths are padded on the right, or packed into one sequence if ``packed``. Where a set
    has a length of its own, or a slice, :meth:`eval_row` makes its rows.
    """

    eval_rows: ClassVar[int] = 256
    """Rows of each evaluation set."""

    packed: ClassVar[bool] = False
    """Whether a batch's rows are packed into one sequence, between which nothing leaks."""

    @abstractmethod
    def row(self, split: Split, row: int) -> tuple[Array, Array | np.integer[Any]]:
        """Return the inputs and targets of one row, from :func:`~seqsuite.tasks.random.row_rng`.

        Inputs are token ids (L,) or numbers (L, C); targets are (L,), one class, or numbers (L, K).
        """

    def eval_row(self, which: EvalSet, row: int) -> tuple[Array, Array | np.integer[Any]]:
        """Return one row of an evaluation set."""
        return self.row(which.split, row)

    def train_batch(self, rows: range) -> Batch:
        """Return training rows."""
        return self._collate([checked_row(self, self.row("train", row), row) for row in rows])

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return one set, of rows as long as training's."""
        return (EvalSet(split, "all", self.eval_rows, self.io.seqlen),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return rows of an evaluation set."""
        return self._collate([checked_row(self, self.eval_row(which, row), row, which) for row in rows])

    def _collate(self, rows: Sequence[Row]) -> Batch:
        """Return rows as one batch: what ``io`` calls numbers as float32, all else as int64."""
        inputs, targets = [row[0] for row in rows], [row[1] for row in rows]
        lengths = np.array([len(row) for row in inputs])
        given = np.float32 if self.io.d_input is not None else np.int64
        wanted = np.float32 if self.io.d_target is not None else np.int64
        by_sequence = targets[0].ndim == 0
        if self.packed:
            offsets = np.concatenate([[0], lengths.cumsum()])
            joined = np.array(targets) if by_sequence else np.concatenate(targets)[None]
            packed = np.concatenate(inputs)[None]
            return Batch(packed.astype(given), joined.astype(wanted), cu_seqlens=offsets)
        if by_sequence:
            labels = np.array(targets).astype(wanted)
        else:
            labels = _padded(targets, IGNORE if wanted is np.int64 else np.nan, wanted)
        padded = lengths if len(set(lengths.tolist())) > 1 else None
        return Batch(_padded(inputs, 0, given), labels, lengths=padded)


def _padded(rows: Sequence[Array], fill: float, dtype: npt.DTypeLike) -> Array:
    """Return rows side by side, filled up on the right to the longest."""
    longest = max(len(row) for row in rows)
    batch = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype=dtype)
    for place, row in enumerate(rows):
        batch[place, : len(row)] = row
    return batch

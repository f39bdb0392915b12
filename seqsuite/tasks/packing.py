"""Documents packed into one sequence without padding, between which nothing leaks."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import IGNORE, Batch, Ints
from seqsuite.tasks.lanes import Joined, Stream
from seqsuite.tasks.random import below


class Packing:
    """Streams after one another, cut into rows of ``seqlen`` inputs wherever that falls.

    A batch is one sequence (1, rows · seqlen) whose ``cu_seqlens`` mark where a row or a stream begins; a
    stream's last token has no target.

    Args:
        streams: Token streams, each of at least one token.
        seqlen: Inputs of a row.
        unscored_token: Token that is never a target.

    Attributes:
        tiles: How many rows the streams have, side by side; the last one may be shorter.
    """

    def __init__(self, streams: Sequence[Stream], seqlen: int, unscored_token: int | None = None) -> None:
        self._joined, self._seqlen, self._unscored = Joined(streams), seqlen, unscored_token
        self.tiles = -(-(len(self._joined) - 1) // seqlen)

    def draw(self, words: npt.NDArray[np.uint64], lengths: Ints) -> Batch:
        """Return a batch of rows that start anywhere, from random words (rows, 1 or more)."""
        last = np.maximum(len(self._joined) - lengths, 1)
        return self._batch(below(words[:, 0], last).tolist(), lengths.tolist())

    def tile(self, rows: range, count: int) -> Batch:
        """Return some of ``count`` evenly spaced tiles."""
        chosen = np.linspace(0, self.tiles - 1, count).round().astype(int)[rows.start : rows.stop]
        return self._batch((chosen * self._seqlen).tolist(), [self._seqlen] * len(chosen))

    def _batch(self, starts: Sequence[int], lengths: Sequence[int]) -> Batch:
        inputs, targets, offsets = [], [], [0]
        for start, wanted in zip(starts, lengths, strict=True):
            length = min(wanted, len(self._joined) - 1 - start)
            tokens = self._joined.read(start, length + 1).astype(np.int64)
            ends = self._ends_within(start, length)
            following = tokens[1:].copy()
            following[ends - start - 1] = IGNORE
            inputs.append(tokens[:-1])
            targets.append(following)
            first = offsets[-1]
            offsets += sorted({*(first + ends - start).tolist(), first + length})
        joined = np.concatenate(targets)
        if self._unscored is not None:
            joined[joined == self._unscored] = IGNORE
        return Batch(np.concatenate(inputs)[None], joined[None], cu_seqlens=np.array(offsets, dtype=np.int64))

    def _ends_within(self, start: int, length: int) -> Ints:
        """Return where streams end in ``start + 1 … start + length``: the token before has no target."""
        ends = self._joined.ends
        low, high = np.searchsorted(ends, [start + 1, start + length + 1])
        return np.unique(ends[low:high]).astype(np.int64)

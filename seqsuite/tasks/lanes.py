"""Streams read in order, in lanes side by side: what training with a carried state needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError

Stream = npt.NDArray[np.unsignedinteger[Any]]


class Joined:
    """Streams after one another, read by range.

    Args:
        streams: Token streams.

    Attributes:
        ends: Where each ends (S,).
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        self.ends = np.cumsum([len(stream) for stream in streams])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, start: int, length: int) -> Stream:
        """Return ``length`` tokens from ``start`` on, of as many streams as that takes."""
        number = int(np.searchsorted(self.ends, start, side="right"))
        parts: list[Stream] = []
        while length:
            stream = self._streams[number]
            offset = start - (int(self.ends[number]) - len(stream))
            part = stream[offset : offset + length]
            parts.append(part)
            start, length, number = start + len(part), length - len(part), number + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Lanes:
    """Streams after one another, cut into equal parts that are read side by side, a chunk after the other.

    Row r is chunk ``r // lanes`` of lane ``r % lanes``; after the last chunk all lanes start again. A chunk
    may run from one stream into the next.

    Args:
        streams: Token streams.
        lanes: How many are read side by side: the rows of one step.
        seqlen: Inputs of a chunk.

    Attributes:
        chunks: Chunks of a lane.

    Raises:
        UserError: if there is less than a chunk for each lane.
    """

    def __init__(self, streams: Sequence[Stream], lanes: int, seqlen: int) -> None:
        self._joined, self._lanes, self._seqlen = Joined(streams), lanes, seqlen
        self._part = len(self._joined) // lanes
        self.chunks = (self._part - 1) // seqlen
        if self.chunks < 1:
            raise UserError(
                f"task.lanes={lanes} parts of the data have {self._part} tokens each, which is less than "
                f"task.seqlen={seqlen}: choose fewer lanes or shorter chunks."
            )

    def windows(self, rows: range) -> tuple[list[Stream], bool]:
        """Return the chunks of rows with the token after each, and whether they go on from those before.

        Raises:
            ValueError: if the rows are of different chunks.
        """
        chunk = rows.start // self._lanes
        if (rows.stop - 1) // self._lanes != chunk:
            raise ValueError(f"rows {rows.start} to {rows.stop} are not of one step of {self._lanes} lanes")
        chunk %= self.chunks
        starts = [row % self._lanes * self._part + chunk * self._seqlen for row in rows]
        return [self._joined.read(start, self._seqlen + 1) for start in starts], chunk > 0

"""Which windows of a split are trained on, drawn at random, and which are scored, side by side."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.random import below
from seqsuite.tasks.sources.targets import Runs, has_target, starts_with_target

Stream = npt.NDArray[np.unsignedinteger[Any]]


class Window(NamedTuple):
    """Tokens ``start … start + seqlen`` of stream number ``stream``; the last one is only a target."""

    stream: int
    start: int


class Sampler:
    """Draws windows: each target position is as likely to choose the stream, and the start is uniform in it.

    Args:
        streams: Token streams.
        runs: Where each stream's tokens are known: a window has a known target; empty where all are known.
        seqlen: Inputs of a window.
    """

    def __init__(self, streams: Sequence[Stream], runs: Sequence[Runs], seqlen: int) -> None:
        targets = np.array([len(stream) - 1 for stream in streams])
        self._ends = targets.cumsum()
        self._lasts = np.maximum(targets - seqlen, 0)
        self._starts = [
            starts_with_target(each, len(stream), seqlen) for each, stream in zip(runs, streams, strict=False)
        ]

    def draw(self, words: npt.NDArray[np.uint64]) -> list[Window]:
        """Return a window for each row of random words (rows, 2 or more)."""
        chosen = np.searchsorted(self._ends, below(words[:, 0], int(self._ends[-1])), side="right")
        if not self._starts:
            starts = below(words[:, 1], self._lasts[chosen] + 1)
            return list(map(Window, chosen.tolist(), starts.tolist()))
        windows = []
        for stream, word in zip(chosen.tolist(), words[:, 1:2], strict=True):
            (start,) = self._starts[stream].pick(below(word, self._starts[stream].total)).tolist()
            windows.append(Window(stream, start))
        return windows


def tiles(streams: Sequence[Stream], runs: Sequence[Runs], seqlen: int) -> Iterator[Window]:
    """Yield the windows that tile each stream from its beginning and have a target.

    Args:
        streams: Token streams.
        runs: As for :class:`Sampler`.
        seqlen: Inputs of a window.
    """
    for number, stream in enumerate(streams):
        starts = np.arange(0, len(stream) - 1, seqlen)
        if runs:
            starts = starts[has_target(runs[number], starts, seqlen)]
        for start in starts.tolist():
            yield Window(number, start)

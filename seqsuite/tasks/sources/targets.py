"""Which windows of a stream have a target, where some tokens (N in DNA) stand for the unknown.

A stream is looked at once, block by block; what follows works on its runs of known tokens, so that a whole
genome, memory-mapped, costs no memory. A window of length L at ``start`` holds tokens ``start … start + L``;
its targets are tokens ``start + 1 … start + L``.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

BLOCK = 1 << 22


class Runs(NamedTuple):
    """Maximal stretches of known tokens: ``starts`` (R,) and ``ends`` (R,), in order, ends excluded."""

    starts: Positions
    ends: Positions

    def known_in(self, starts: Positions, ends: Positions) -> Positions:
        """Return how many known tokens lie in each of the intervals [starts, ends), (K,)."""
        return self._before(ends) - self._before(starts)

    def _before(self, positions: Positions) -> Positions:
        """Return how many known tokens lie before each position."""
        if not len(self.starts):
            return np.zeros_like(positions)
        total = np.concatenate([np.zeros(1, np.int64), (self.ends - self.starts).cumsum()])
        run = np.searchsorted(self.starts, positions, side="right")
        inside = np.minimum(positions, self.ends[run - 1]) - self.starts[run - 1]
        return np.where(run > 0, total[np.maximum(run - 1, 0)] + inside, 0)


def known_runs(stream: npt.NDArray[np.generic], unknown: int) -> Runs:
    """Return the stretches of ``stream`` (L,) without the token ``unknown``, read in blocks."""
    edges = []
    last = False
    for start in range(0, len(stream), BLOCK):
        known = np.asarray(stream[start : start + BLOCK]) != unknown
        changes = np.flatnonzero(known[1:] != known[:-1]) + 1
        if known[0] != last:
            edges.append(np.array([start]))
        edges.append(changes + start)
        last = bool(known[-1])
    if last:
        edges.append(np.array([len(stream)]))
    positions = np.concatenate([np.zeros(0, np.int64), *edges]).astype(np.int64)
    return Runs(positions[::2], positions[1::2])


class Starts(NamedTuple):
    """The places where a window may start: intervals ``firsts … lasts``, both included, (K,), in order."""

    firsts: Positions
    lasts: Positions

    @property
    def total(self) -> int:
        """How many starts there are."""
        return int((self.lasts - self.firsts + 1).sum())

    def pick(self, numbers: Positions) -> Positions:
        """Return the start of each number ``0 … total - 1``, in increasing order of start."""
        ends = (self.lasts - self.firsts + 1).cumsum()
        interval = np.searchsorted(ends, numbers, side="right")
        behind = (ends[interval] - 1 - numbers).astype(np.int64)
        starts: Positions = self.lasts[interval] - behind
        return starts


def starts_with_target(runs: Runs, length: int, seqlen: int) -> Starts:
    """Return where a window of ``seqlen`` inputs may start so that at least one target is known.

    Args:
        runs: The stream's known tokens.
        length: The stream's length. One that no window fits has the start 0 alone: its window is padded.
        seqlen: Inputs of a window.
    """
    last = max(length - seqlen - 1, 0)
    firsts = np.clip(runs.starts - seqlen, 0, None)
    lasts = np.minimum(runs.ends - 2, last)
    possible = (firsts <= lasts) & (firsts <= last)
    firsts, lasts = firsts[possible], lasts[possible]
    if not len(firsts):
        return Starts(firsts, lasts)
    # Neighbouring runs give overlapping intervals: each begins after all before it have ended.
    reached = np.maximum.accumulate(lasts)
    firsts[1:] = np.maximum(firsts[1:], reached[:-1] + 1)
    kept = firsts <= lasts
    return Starts(firsts[kept], lasts[kept])


def has_target(runs: Runs, starts: Positions, seqlen: int) -> npt.NDArray[np.bool_]:
    """Return for each window start (K,) whether at least one of its targets is known."""
    return runs.known_in(starts + 1, starts + 1 + seqlen) > 0

"""The same places of several genomes at a time: what all of them share cancels in the gradient of a batch."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.random import Words, below
from seqsuite.tasks.sources.fasta import N, Record
from seqsuite.tasks.sources.targets import Positions, known_runs

_TRIES, _WORDS = 16, 3
WORDS = _TRIES * _WORDS
"""Random words that a place takes."""

_KNOWN = 0.5  # share of a segment that is known at least
_UNIT = 2.0**-64


class MatchedPlaces:
    """Draws places of an alignment, and cuts the segment of each species there.

    Species differ in length by insertions and deletions: a place is a share of the way through a stretch.

    Args:
        species: Stretches of each species, the same ones in the same order; empty where a species has none.
        length: Bases of a segment.
        near_gaps: Share of places that are drawn around a gap, a run of unknown letters, of a length that not
            all species have as often in that stretch; the others are anywhere.

    Raises:
        UserError: if no stretch has a segment in every species, or none has such a gap.
    """

    def __init__(self, species: Sequence[Sequence[Record]], length: int, near_gaps: float) -> None:
        self._species, self._length, self._near_gaps = species, length, near_gaps
        shortest = np.array([min(map(len, parts)) for parts in zip(*species, strict=True)])
        starts = np.maximum(shortest - length + 1, 0)
        if not starts.sum():
            raise UserError(
                f"The training data has no place of {length} bases in every species: "
                "choose a smaller task.seqlen."
            )
        self._ends = np.cumsum(starts)
        self._gaps = self._find_gaps(starts > 0) if near_gaps else []
        if near_gaps and not self._gaps:
            raise UserError(
                "No species has a gap of a length that the others have not: task.near_gaps has nothing to "
                "draw. Use task.near_gaps=0."
            )

    def cut(self, words: Words) -> Record:
        """Return the segments (species, L) at a place from random words.

        It is the first of several places where half of each segment is known, or else the best of them.
        """
        best, most = None, -1.0
        for few in words.reshape(_TRIES, _WORDS):
            segments = self._segments(*self._place(few))
            known = float((segments != N).mean(axis=1).min())
            if known > most:
                best, most = segments, known
            if known >= _KNOWN:
                break
        assert best is not None
        return best

    def _segments(self, stretch: int, share: float) -> Record:
        starts = [round(share * (len(parts[stretch]) - self._length)) for parts in self._species]
        found = zip(self._species, starts, strict=True)
        return np.stack([parts[stretch][start : start + self._length] for parts, start in found])

    def _place(self, words: Words) -> tuple[int, float]:
        """Return a stretch, and which share of the starts in it is before the place."""
        if float(words[0]) * _UNIT < self._near_gaps:
            stretch, middle, length = self._gaps[int(below(words[1:2], len(self._gaps))[0])]
            start = middle - float(words[2]) * _UNIT * self._length
            return stretch, float(np.clip(start / max(length - self._length, 1), 0, 1))
        number = int(below(words[1:2], int(self._ends[-1]))[0])
        stretch = int(np.searchsorted(self._ends, number, side="right"))
        return stretch, float(words[2]) * _UNIT

    def _find_gaps(self, usable: npt.NDArray[np.bool_]) -> list[tuple[int, float, int]]:
        """Return the stretch, the middle and the stretch's length of each gap that not all have as often."""
        found = []
        for number in np.flatnonzero(usable).tolist():
            stretches = [parts[number] for parts in self._species]
            gaps = [_gaps(stretch) for stretch in stretches]
            counts = [Counter((ends - starts).tolist()) for starts, ends in gaps]
            for stretch, (starts, ends) in zip(stretches, gaps, strict=True):
                for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                    if len({count[end - start] for count in counts}) > 1:
                        found.append((number, (start + end) / 2, len(stretch)))
        return found


def _gaps(stretch: Record) -> tuple[Positions, Positions]:
    """Return where the gaps within a stretch start and end; those at its ends are cut and no gaps."""
    known = known_runs(stretch, N)
    return known.ends[:-1], known.starts[1:]

"""The same recording twice: passages that two pieces share, found by their spectral peaks.

A pair of peaks (two frequencies and the time between them) is a landmark, as in Wang, "An Industrial-Strength
Audio Search Algorithm", ISMIR 2003. Loudness, noise and where a clip was cut change few of them; another
performance of the same notes has others. Two pieces share a passage if many landmarks agree on one shift.
"""

from collections.abc import Mapping
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.sources.audio import SAMPLE_RATE, Codes, decode

_WINDOW, _HOP = 1024, 512
_BANDS = (6, 12, 20, 32, 50, 80, 128, 256)  # edges in bins of 15.6 Hz
_NEIGHBOURS = 6  # frames to either side of which a peak is the loudest in its band
_FAINT = 1e-3  # of a piece's loudest bin; below it there are no peaks
_PAIRS, _LONGEST = 5, 64  # peaks that each is paired with, and the frames between them at most
_PER_SECOND = 3.0  # landmarks a second that must agree
_GAP = 64  # frames without an agreeing landmark at which a passage ends
_COMMON = 50  # a landmark that a piece has more often, as in a steady tone, tells nothing
_BLOCK = 4096  # frames transformed at once

Ints = npt.NDArray[np.int64]


class Landmarks(NamedTuple):
    """Hashes (K,) of pairs of peaks, sorted, and the frame of each pair's first peak (K,)."""

    hashes: Ints
    frames: Ints


class Passage(NamedTuple):
    """A passage that pieces ``first`` and ``second`` share; times in seconds."""

    first: str
    second: str
    first_start: float
    second_start: float
    seconds: float

    def __str__(self) -> str:
        names = [Path(name).name for name in (self.first, self.second)]
        return (
            f"{self.seconds:.0f} s of {names[0]} from {self.first_start:.0f} s on, in {names[1]} from "
            f"{self.second_start:.0f} s on"
        )


def landmarks(codes: Codes) -> Landmarks:
    """Return the landmarks of mu-law codes (L,) at 16 kHz; silence has none."""
    peaks = _peaks(_loudest_bins(codes))
    order = np.lexsort((peaks[:, 1], peaks[:, 0]))
    frames, bins = peaks[order].T
    hashes, starts = [], []
    for ahead in range(1, _PAIRS + 1):
        between = frames[ahead:] - frames[:-ahead]
        near = (between > 0) & (between <= _LONGEST)
        pairs = (bins[:-ahead] * _BANDS[-1] + bins[ahead:]) * (_LONGEST + 1) + between
        hashes.append(pairs[near])
        starts.append(frames[:-ahead][near])
    hashed, started = np.concatenate(hashes), np.concatenate(starts)
    _, which, counts = np.unique(hashed, return_inverse=True, return_counts=True)
    rare = counts[which] <= _COMMON
    hashed, started = hashed[rare], started[rare]
    by_hash = np.argsort(hashed, kind="stable")
    return Landmarks(hashed[by_hash], started[by_hash])


def shared_passages(splits: Mapping[str, Mapping[str, Codes]], *, min_seconds: float = 5.0) -> list[Passage]:
    """Return the passages that a piece of one split shares with a piece of another, the longest of each pair.

    Args:
        splits: By split, the pieces' codes by name.
        min_seconds: Shorter passages are not looked for.
    """
    return passages_of(
        {
            split: {name: landmarks(codes) for name, codes in pieces.items()}
            for split, pieces in splits.items()
        },
        min_seconds=min_seconds,
    )


def passages_of(found: Mapping[str, Mapping[str, Landmarks]], *, min_seconds: float = 5.0) -> list[Passage]:
    """Return what :func:`shared_passages` does, from the pieces' landmarks, which take far less memory."""
    passages = []
    for one, other in combinations(found.values(), 2):
        for first, its in one.items():
            for second, others in other.items():
                passage = _shared(first, its, second, others, min_seconds)
                if passage is not None:
                    passages.append(passage)
    return passages


def _loudest_bins(codes: Codes) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return each frame's loudest bin in each band, and how loud it is, (T, bands) each."""
    count = max((len(codes) - _WINDOW) // _HOP + 1, 0)
    bins = np.zeros((count, len(_BANDS) - 1), dtype=np.int64)
    levels = np.zeros(bins.shape)
    window = np.hanning(_WINDOW).astype(np.float32)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        wave = decode(np.asarray(codes[start * _HOP : (end - 1) * _HOP + _WINDOW]))
        frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::_HOP]
        spectrum = np.abs(np.fft.rfft(frames * window, axis=1))
        for band, (low, high) in enumerate(pairwise(_BANDS)):
            bins[start:end, band] = spectrum[:, low:high].argmax(axis=1) + low
            levels[start:end, band] = spectrum[:, low:high].max(axis=1)
    return bins, levels


def _peaks(loudest: tuple[Ints, npt.NDArray[np.float64]]) -> Ints:
    """Return frame and bin of each peak (P, 2): the loudest of its band among its neighbours in time."""
    bins, levels = loudest
    if not len(levels):
        return np.zeros((0, 2), dtype=np.int64)
    padded = np.pad(levels, ((_NEIGHBOURS, _NEIGHBOURS), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1, axis=0).max(axis=-1)
    frames, bands = np.nonzero((levels == around) & (levels > max(_FAINT * levels.max(), 1e-2)))
    return np.stack([frames, bins[frames, bands]], axis=1)


def _densest(frames: Ints) -> Ints:
    """Return the longest stretch without a gap: a few landmarks agree by chance far from a passage."""
    stretches = np.split(frames, np.flatnonzero(np.diff(frames) > _GAP) + 1)
    return max(stretches, key=len)


def _shared(first: str, its: Landmarks, second: str, others: Landmarks, min_seconds: float) -> Passage | None:
    low = np.searchsorted(others.hashes, its.hashes, side="left")
    counts = np.searchsorted(others.hashes, its.hashes, side="right") - low
    mine = np.repeat(its.frames, counts)
    offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    theirs = others.frames[np.repeat(low, counts) + offsets]
    if not len(mine):
        return None
    shifts = theirs - mine
    votes = np.bincount(shifts - shifts.min())
    votes[1:] += votes[:-1].copy()  # a shift that is no whole number of frames falls on two
    best = int(votes.argmax()) + int(shifts.min())
    agreeing = _densest(np.sort(mine[(shifts == best) | (shifts == best - 1)]))
    seconds = float(agreeing[-1] - agreeing[0] + 1) * _HOP / SAMPLE_RATE
    if seconds < min_seconds or len(agreeing) < _PER_SECOND * seconds:
        return None
    start = float(agreeing[0]) * _HOP / SAMPLE_RATE
    return Passage(first, second, start, start + best * _HOP / SAMPLE_RATE, seconds)

"""Intervals of a genome with their splits, as Basenji lays them out, and windows of any length from them.

Every function here is pure: the same intervals give the same windows in every process. Positions are 0-based,
ends excluded, as in BED.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.sources.text import read_text

_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


class Interval(NamedTuple):
    """Bases ``start … end - 1`` of ``chrom``, which belong to ``split``."""

    chrom: str
    start: int
    end: int
    split: Split


def read_intervals(file: Path) -> list[Interval]:
    """Return the intervals of a BED file with the columns chrom, start, end and split, in the file's order.

    Raises:
        UserError: if the file cannot be read, a line is not of this form, or two splits overlap.
    """
    intervals = []
    for number, line in enumerate(read_text(file).decode("utf-8", errors="replace").splitlines(), start=1):
        if line.strip() and not line.startswith(("#", "track", "browser")):
            intervals.append(_interval(line, f"Line {number} of {str(file)!r}"))
    if not intervals:
        raise UserError(f"The file {str(file)!r} has no intervals in it.")
    overlap = _overlap(intervals)
    if overlap is not None:
        first, second = overlap
        raise UserError(
            f"The file {str(file)!r} has {_name(first)} in {first.split} and {_name(second)} in "
            f"{second.split}, which overlap."
        )
    return intervals


def tile(intervals: Iterable[Interval], length: int) -> list[Interval]:
    """Cut each interval into windows of ``length`` bases, side by side; a shorter rest is left out."""
    return [
        interval._replace(start=start, end=start + length)
        for interval in intervals
        for start in range(interval.start, interval.end - length + 1, length)
    ]


def extend(intervals: Sequence[Interval], length: int, chrom_lengths: Mapping[str, int]) -> list[Interval]:
    """Widen each interval to ``length`` bases, without ever reaching what another split has.

    A window lies as evenly about its interval as the chromosome's ends and the neighbours allow. Of the bases
    between neighbours of two splits each side has its half, so that no two windows of different splits share
    a base, whatever ``length`` is. Windows of one split may overlap. An interval without that much room is
    left out.

    Args:
        intervals: Non-overlapping over splits.
        length: Bases of a window, at least as many as each interval has.
        chrom_lengths: Bases of each chromosome.

    Raises:
        UserError: if an interval lies outside its chromosome, or is longer than ``length``.
    """
    windows = {}
    for chrom in dict.fromkeys(interval.chrom for interval in intervals):
        if chrom not in chrom_lengths:
            raise UserError(f"The intervals name {chrom!r}, which the genome does not have.")
        ordered = sorted({interval for interval in intervals if interval.chrom == chrom})
        for interval, (low, high) in zip(ordered, _rooms(ordered, chrom_lengths[chrom]), strict=True):
            if interval.end > chrom_lengths[chrom]:
                raise UserError(f"The interval {_name(interval)} ends behind its chromosome.")
            if interval.end - interval.start > length:
                raise UserError(f"The interval {_name(interval)} has more than {length} bases.")
            if high - low >= length:
                middle = (interval.start + interval.end - length) // 2
                start = min(max(middle, low), high - length)
                windows[interval] = interval._replace(start=start, end=start + length)
    return [windows[interval] for interval in intervals if interval in windows]


def windows_of(
    intervals: Sequence[Interval], length: int, chrom_lengths: Mapping[str, int]
) -> list[Interval]:
    """Return windows of exactly ``length`` bases: tiles of longer intervals, wider ones for shorter.

    Raises:
        UserError: as :func:`extend`, or if no interval has room for ``length``.
    """
    longest = max(interval.end - interval.start for interval in intervals)
    windows = tile(intervals, length) if length <= longest else extend(intervals, length, chrom_lengths)
    if not windows:
        raise UserError(f"No interval has room for {length} bases beside the other splits' intervals.")
    return windows


def _interval(line: str, where: str) -> Interval:
    columns = line.split()
    try:
        chrom, start, end, split = columns[0], int(columns[1]), int(columns[2]), _SPLITS[columns[3].lower()]
    except (IndexError, ValueError, KeyError) as error:
        raise UserError(
            f"{where} is not chrom, start, end and split (train, valid or test): {line[:80]!r}."
        ) from error
    if not 0 <= start < end:
        raise UserError(f"{where} ends before it begins: {line[:80]!r}.")
    return Interval(chrom, start, end, split)


def _overlap(intervals: Iterable[Interval]) -> tuple[Interval, Interval] | None:
    """Return two intervals of different splits that share a base."""
    reaching: dict[tuple[str, Split], Interval] = {}  # the interval of each split that ends last so far
    for interval in sorted(intervals):
        for split in SPLITS:
            other = reaching.get((interval.chrom, split))
            if other is not None and split != interval.split and interval.start < other.end:
                return other, interval
        key = interval.chrom, interval.split
        if key not in reaching or reaching[key].end < interval.end:
            reaching[key] = interval
    return None


def _rooms(ordered: Sequence[Interval], length: int) -> list[tuple[int, int]]:
    """Return the stretch that belongs to each interval of one chromosome, ordered by start."""
    lows, highs = [0] * len(ordered), [length] * len(ordered)
    for index in range(1, len(ordered)):
        before, here = ordered[index - 1], ordered[index]
        lows[index] = lows[index - 1] if before.split == here.split else _middle(ordered[:index], here)
    for index in range(len(ordered) - 2, -1, -1):
        here, after = ordered[index], ordered[index + 1]
        highs[index] = highs[index + 1] if here.split == after.split else lows[index + 1]
    return list(zip(lows, highs, strict=True))


def _middle(before: Sequence[Interval], here: Interval) -> int:
    reached = max(interval.end for interval in before)
    return (min(reached, here.start) + here.start) // 2


def _name(interval: Interval) -> str:
    return f"{interval.chrom}:{interval.start}-{interval.end}"

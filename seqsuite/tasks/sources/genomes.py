"""Records of genome files, in memory or memory-mapped, and the intervals of a BED file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS
from seqsuite.tasks.prepare.genome import Genome, open_genome
from seqsuite.tasks.sources.compression import compression
from seqsuite.tasks.sources.fasta import GAP, Record, read_fasta
from seqsuite.tasks.sources.intervals import Interval, extend, read_intervals
from seqsuite.tasks.windows import Streams

LARGE = 1 << 25
"""Bytes of a FASTA file from which on it is not held in memory."""

_PACKED = 4  # what a byte of a compressed file is taken for
_BLOCK = 1 << 22


def records_of(file: Path) -> list[Record]:
    """Return the records of a FASTA file (L,); those of a large one are memory-mapped.

    Raises:
        UserError: if the file cannot be read, is not FASTA, or is not DNA.
    """
    if file.stat().st_size * (_PACKED if compression(file) else 1) <= LARGE:
        return read_fasta(file)
    return list(mapped_records(open_genome(file)).values())


def mapped_records(genome: Genome) -> dict[str, Record]:
    """Return the records of a genome by name, memory-mapped."""
    return {name: np.asarray(genome.record(name)) for name in genome.lengths}


def without_gaps(record: Record) -> Record:
    """Return a record (L,) without alignment gaps; one that has none stays memory-mapped."""
    starts = range(0, len(record), _BLOCK)
    if not any((record[start : start + _BLOCK] == GAP).any() for start in starts):
        return record
    bases: Record = record[record != GAP]
    return bases


def interval_streams(files: Sequence[Path], bed: Path, length: int) -> Streams:
    """Return what the intervals of a BED file cover, by split.

    Intervals of ``length`` bases or more are streams as they are, from which windows are cut; shorter ones
    are widened to ``length`` without reaching what another split has.

    Args:
        files: FASTA files with the chromosomes.
        bed: The intervals: chrom, start, end and split.
        length: Bases of a window and the one after it.

    Raises:
        UserError: if a file cannot be read, or an interval is not within the genome.
    """
    records: dict[str, Record] = {}
    for file in files:
        for name, record in mapped_records(open_genome(file)).items():
            if name in records:
                raise UserError(f"Two files of the genome have a record {name!r}: give each its own.")
            records[name] = record
    lengths = {name: len(record) for name, record in records.items()}
    intervals = read_intervals(bed)
    if max(interval.end - interval.start for interval in intervals) < length:
        intervals = extend(intervals, length, lengths)
        if not intervals:
            raise UserError(f"No interval has room for {length} bases beside the other splits' intervals.")
    streams: Streams = {split: [] for split in SPLITS}
    for interval in intervals:
        _check(interval, lengths)
        streams[interval.split].append(without_gaps(records[interval.chrom][interval.start : interval.end]))
    return streams


def _check(interval: Interval, lengths: dict[str, int]) -> None:
    if interval.chrom not in lengths:
        raise UserError(f"The intervals name {interval.chrom!r}, which the genome does not have.")
    if interval.end > lengths[interval.chrom]:
        where = f"{interval.chrom}:{interval.start}-{interval.end}"
        raise UserError(f"The interval {where} ends behind its chromosome.")

"""Multiple alignments of genomes in MAF: the same stretch of several species, block by block."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.sources.compression import COMPRESSED_SUFFIXES, open_lines
from seqsuite.tasks.sources.fasta import GAP, N, Record, encode
from seqsuite.tasks.sources.files import reason_of

SUFFIXES = (".maf", *(f".maf{packed}" for packed in COMPRESSED_SUFFIXES))

GREAT_APES = {
    "Hsap": "human",
    "homo_sapiens": "human",
    "hg38": "human",
    "Ptro": "chimpanzee",
    "pan_troglodytes": "chimpanzee",
    "Ppan": "bonobo",
    "pan_paniscus": "bonobo",
    "Ggor": "gorilla",
    "gorilla_gorilla": "gorilla",
    "Ppyg": "orangutan",
    "Pabe": "orangutan",
    "pongo_abelii": "orangutan",
}
"""Names of the great apes by the names that Ensembl's alignments and their subsets give them."""

EXAMPLE = Path("/usr/share/doc/maffilter/examples/Gorilla")
"""Where Debian's package ``maffilter-examples`` has chromosome 22 of four great apes."""

MAX_GAP = 1000
"""Bases between two blocks of one stretch."""

_TRAIN, _VALIDATION = 0.8, 0.1


class Row(NamedTuple):
    """One species in a block: ``codes`` (columns,) with gaps; ``start`` counts on ``strand`` (1 or -1)."""

    species: str
    chrom: str
    start: int
    strand: int
    codes: Record


def read_maf(file: Path) -> Iterator[tuple[Row, ...]]:
    """Yield the blocks of a MAF file, plain or compressed, one at a time.

    A row's source ``Hsap.22`` is species and chromosome; species keep the names that the file gives them.

    Raises:
        UserError: if the file cannot be read, is not MAF, or is not DNA.
    """
    from Bio import AlignIO

    with open_lines(file, "MAF") as lines:
        try:
            first = lines.readline()
            if not first.startswith("##maf"):
                raise UserError(f"The file {str(file)!r} is not MAF: it does not begin with '##maf'.")
            for block in AlignIO.parse(lines, "maf"):
                yield tuple(_row(record, file) for record in block)
        except (ValueError, IndexError, KeyError, AttributeError, AssertionError, TypeError) as error:
            raise UserError(f"The file {str(file)!r} cannot be read as MAF: {reason_of(error)}.") from error


def split_blocks(columns: Sequence[int]) -> list[Split]:
    """Return each block's split: by order: 80 % of the ``columns`` (B,) train, 10 % validation, 10 % test.

    Whole blocks are held out, so that a stretch of the genome is in one split for all species.
    """
    middles = np.cumsum(columns) - np.asarray(columns) / 2
    shares = middles / max(sum(columns), 1)
    return [_split(float(share)) for share in shares]


def aligned_stretches(file: Path) -> dict[Split, dict[str, list[Record]]]:
    """Return the stretches of each split and species, without alignment gaps.

    Blocks that follow one another in the first row's species with at most :data:`MAX_GAP` bases between them,
    and have the same species, make one stretch, in which those bases are N for every species: how long the N
    are tells no species. All species have the same stretches in the same order; one that a species is not in
    is empty.

    Raises:
        UserError: as :func:`read_maf`.
    """
    blocks = list(read_maf(file))
    found: dict[Split, list[dict[str, list[Record]]]] = {split: [] for split in SPLITS}
    parts: dict[str, list[Record]] = {}
    before: tuple[Split, str, int, int] | None = None
    splits = split_blocks([len(block[0].codes) for block in blocks])
    for split, block in zip(splits, blocks, strict=True):
        first = block[0]
        gap = -1
        same = {species_name(row.species) for row in block} == parts.keys()
        if same and before is not None and before[:3] == (split, first.chrom, first.strand):
            gap = first.start - before[3]
        if not 0 <= gap <= MAX_GAP:
            parts = {}
            found[split].append(parts)
        for row in block:
            codes = row.codes[row.codes != GAP]
            joined = parts.setdefault(species_name(row.species), [])
            if joined:
                joined.append(np.full(gap, N, dtype=np.uint8))
            joined.append(codes)
        length = int((first.codes != GAP).sum())
        before = split, first.chrom, first.strand, first.start + length
    names = dict.fromkeys(name for stretches in found.values() for parts in stretches for name in parts)
    return {
        split: {name: [_joined(parts.get(name, [])) for parts in stretches] for name in names}
        for split, stretches in found.items()
    }


def species_in(file: Path) -> tuple[str, ...]:
    """Return the species of the first block, sorted.

    Raises:
        UserError: as :func:`read_maf`.
    """
    block = next(read_maf(file), ())
    return tuple(sorted({species_name(row.species) for row in block}))


def species_name(name: str) -> str:
    """Return a great ape's common name, any other name as it is."""
    return GREAT_APES.get(name, name)


def _joined(parts: list[Record]) -> Record:
    return np.concatenate([np.zeros(0, np.uint8), *parts])


def example_alignment() -> Path | None:
    """Return the alignment of great apes in Debian's ``maffilter-examples``, if that is installed."""
    files = sorted(EXAMPLE.glob("*.maf.gz")) if EXAMPLE.is_dir() else []
    return files[0] if files else None


def _row(record: Any, file: Path) -> Row:
    species, _, chrom = record.id.partition(".")
    start, strand = record.annotations["start"], record.annotations["strand"]
    return Row(species, chrom, start, strand, encode(str(record.seq), f"Row {record.id!r} of {str(file)!r}"))


def _split(share: float) -> Split:
    if share < _TRAIN:
        return "train"
    return "validation" if share < _TRAIN + _VALIDATION else "test"

"""DNA sequences with a class each, in the layouts that benchmarks of classification are published in."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from seqsuite.errors import UserError
from seqsuite.tasks.base import Split
from seqsuite.tasks.prepare.genome import Genome, open_genome
from seqsuite.tasks.sources.compression import (
    BROKEN_ARCHIVE,
    COMPRESSED_SUFFIXES,
    FREE_EXPANSION,
    MAX_EXPANSION,
)
from seqsuite.tasks.sources.fasta import GAP, Record, encode, iterate_fasta, reverse_complement
from seqsuite.tasks.sources.fasta import SUFFIXES as FASTA
from seqsuite.tasks.sources.files import find, read_bytes, reason_of, shorten

SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What folders and tables of a split are called; a set without a validation split has only two."""

_TEXT = (".txt",)
_COMMA = (".csv", *(".csv" + packed for packed in COMPRESSED_SUFFIXES))
_TABLES = (".parquet", *_COMMA)
_SEQUENCE, _LABEL = ("seq", "sequence"), "label"
_INTERVAL = ("region", "start", "end", "strand")
_LONGEST = 1 << 24
"""Bytes of a member of an archive that is taken for one sequence."""


class Labelled(NamedTuple):
    """A sequence and its class: bases (L,) uint8 without gaps."""

    bases: Record
    label: str


class Entry(NamedTuple):
    """A file, or a member of an archive, with sequences of one split."""

    split: Split
    label: str | None
    name: str


@dataclass(frozen=True)
class LabelledDNA:
    """Where labelled sequences lie; listing it reads no sequence.

    Attributes:
        path: A folder or a zip archive.
        entries: Its files by split; those with a class of their own name it.
        class_names: All classes, sorted.
        genome: FASTA of what intervals are of: one file, or a folder with a file a class.
    """

    path: Path
    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    genome: Path | None = None

    def read(self) -> dict[Split, list[Labelled]]:
        """Return the sequences of each split that is there.

        Raises:
            UserError: if a file cannot be read, or is not DNA.
        """
        found: dict[Split, list[Labelled]] = {}
        for entry, sequences in self._sequences():
            found.setdefault(entry.split, []).extend(sequences)
        return found

    def _sequences(self) -> Iterator[tuple[Entry, Iterable[Labelled]]]:
        if self.path.is_file():
            yield from _of_archive(self.path, self.entries)
            return
        genomes: dict[Path, Mapping[str, tuple[Genome, str]]] = {}
        for entry in self.entries:
            file = self.path / entry.name
            if entry.label is None:
                yield entry, _of_table(file)
            elif file.name.lower().endswith(_COMMA):
                reference = _reference(file, self.genome, entry.label)
                if reference not in genomes:
                    genomes[reference] = _regions(open_genome(reference))
                yield entry, _of_intervals(file, entry.label, genomes[reference])
            elif file.name.lower().endswith(FASTA):
                yield entry, (_labelled(record, entry.label) for _, record in iterate_fasta(file))
            else:
                yield entry, [_of_text(read_bytes(file), str(file), entry.label)]


def find_labelled(path: Path, genome: Path | None = None) -> LabelledDNA:
    """Return what is in a folder or an archive of labelled sequences.

    Each split is a folder ``train``, ``test`` (and perhaps ``valid``) with, for each class, a folder of text
    or FASTA files, a FASTA file, or a table of intervals (``region``, ``start``, ``end``, ``strand``); or it
    is a table of sequences (``seq`` or ``sequence``) with their ``label``. An archive has folders of text.

    Args:
        path: The folder, or one with nothing but that folder, or a zip archive of it.
        genome: What intervals are of.

    Raises:
        UserError: if there is no such layout, or a class is in one split only.
    """
    path = path.expanduser()
    try:
        root = path if path.is_file() else _root(path)
        entries = _list_archive(path) if path.is_file() else [*_list_tables(root), *_list_classes(root)]
    except OSError as error:
        raise UserError(f"task.path={str(path)!r} cannot be read: {reason_of(error)}.") from error
    splits = {split: {e.label for e in entries if e.split == split} for split in ("train", "test")}
    for split in splits:
        if not splits[split]:
            raise UserError(
                f"task.path={str(path)!r} has no {split} sequences: it should have folders train and test "
                "with a folder or file a class, or tables train and test with the columns seq and label."
            )
    if splits["train"] != splits["test"]:
        only = sorted(map(str, splits["train"] ^ splits["test"]))
        raise UserError(f"task.path={str(path)!r}: {shorten(only)} is a class of one split only.")
    names = {entry.label for entry in entries if entry.label is not None}
    if not names:
        names = {label for entry in entries for label in _labels(root / entry.name)}
    if len(names) < 2:
        raise UserError(f"task.path={str(path)!r} has one class only: give two or more to tell apart.")
    return LabelledDNA(root, tuple(entries), tuple(sorted(names, key=_natural)), genome)


def _root(path: Path) -> Path:
    """Return the folder with the splits: what was given, or the only one in it."""
    if not path.is_dir():
        raise UserError(f"There is no file or folder at task.path={str(path)!r}.")
    if not any(item.name.partition(".")[0] == "train" for item in path.iterdir()):
        inside = [item.parent for item in sorted(path.glob("*/train*"))]
        if len(set(inside)) == 1:
            return inside[0]
    return path


def _list_tables(root: Path) -> list[Entry]:
    """Return the tables beside one another that are named after splits."""
    return [
        Entry(SPLIT_NAMES[stem], None, file.name)
        for file in sorted(root.iterdir())
        if file.is_file()
        and file.name.lower().endswith(_TABLES)
        and (stem := file.name.partition(".")[0].partition("-")[0]) in SPLIT_NAMES
    ]


def _list_classes(root: Path) -> list[Entry]:
    """Return the files of each class below the folders of splits."""
    entries = []
    for name, split in SPLIT_NAMES.items():
        if (root / name).is_dir():
            for file in find(root / name, (*_TEXT, *FASTA, *_COMMA), "text, FASTA or CSV").files:
                label = file.relative_to(root / name).parts[0].partition(".")[0]
                entries.append(Entry(split, label, str(file.relative_to(root))))
    return entries


def _list_archive(path: Path) -> list[Entry]:
    """Return the text files of each class in a zip archive of folders."""
    entries = []
    for name in _archive(path).namelist():
        parts = PurePosixPath(name).parts
        splits = [place for place, part in enumerate(parts[:-2]) if part in SPLIT_NAMES]
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        if splits and name.endswith(_TEXT) and not hidden:
            place = splits[0]
            entries.append(Entry(SPLIT_NAMES[parts[place]], parts[place + 1], name))
    return sorted(entries, key=lambda entry: entry.name)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, *BROKEN_ARCHIVE) as error:
        raise UserError(
            f"task.path={str(path)!r} is neither a folder nor a zip archive of labelled sequences: "
            f"{reason_of(error)}."
        ) from error


def _of_archive(path: Path, entries: Sequence[Entry]) -> Iterator[tuple[Entry, list[Labelled]]]:
    read = 0
    with _archive(path) as archive:
        for entry in entries:
            where = f"{path}#{entry.name}"
            try:
                with archive.open(entry.name) as member:
                    content = member.read(_LONGEST + 1)
            except (OSError, *BROKEN_ARCHIVE) as error:
                raise UserError(f"{where} cannot be read: {reason_of(error)}.") from error
            read += len(content)
            if read > max(FREE_EXPANSION, MAX_EXPANSION * path.stat().st_size):
                raise UserError(f"{str(path)!r} is left alone: it expands to over {read} bytes.")
            if len(content) > _LONGEST:
                raise UserError(f"{where} is no sequence: it has over {_LONGEST} bytes.")
            assert entry.label is not None
            yield entry, [_of_text(content, where, entry.label)]


def _of_text(content: bytes, where: str, label: str) -> Labelled:
    letters = "".join(content.decode("utf-8", errors="replace").split())
    return _labelled(encode(letters, where), label)


def _labelled(record: Record, label: str) -> Labelled:
    return Labelled(record[record != GAP], label)


def _of_table(file: Path) -> Iterator[Labelled]:
    table = _table(file)
    column = next((name for name in _SEQUENCE if name in table.column_names), None)
    if column is None or _LABEL not in table.column_names:
        raise UserError(
            f"The table {str(file)!r} should have the columns {' or '.join(_SEQUENCE)}, and {_LABEL}; it has "
            f"{shorten(table.column_names)}."
        )
    rows = zip(table.column(column).to_pylist(), table.column(_LABEL).to_pylist(), strict=True)
    for number, (letters, label) in enumerate(rows, start=1):
        where = f"{file}#{number}"
        if not isinstance(letters, str) or label is None:
            raise UserError(f"Row {number} of {str(file)!r} has no sequence or no label.")
        yield _labelled(encode(letters.strip(), where), str(label))


def _labels(file: Path) -> set[str]:
    table = _table(file)
    labels = table.column(_LABEL).unique().to_pylist() if _LABEL in table.column_names else []
    return {str(label) for label in labels if label is not None}


def _table(file: Path) -> Any:
    """Return a table of a Parquet or CSV file.

    Raises:
        UserError: if it cannot be read.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    try:
        is_parquet = file.suffix.lower() == ".parquet"
        table = pyarrow.parquet.read_table(file) if is_parquet else pyarrow.csv.read_csv(file)
        _ = table.column_names  # which need not be UTF-8
        return table
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"The table {str(file)!r} cannot be read: {reason_of(error)}.") from error


def _reference(file: Path, genome: Path | None, label: str) -> Path:
    """Return the FASTA file that a class's intervals are of."""
    if genome is None:
        raise UserError(
            f"{str(file)!r} has intervals, not sequences: give the FASTA they are of by task.genome=FILE."
        )
    genome = genome.expanduser()
    if not genome.is_dir():
        return genome
    own = [item for item in find(genome, FASTA, "FASTA").files if item.name.partition(".")[0] == label]
    if len(own) != 1:
        raise UserError(
            f"The folder task.genome={str(genome)!r} should have one FASTA called {label!r}, as the class."
        )
    return own[0]


def _regions(genome: Genome) -> Mapping[str, tuple[Genome, str]]:
    """Return records by what tables call them: with ``chr`` before a number, without a version behind."""
    found = {name: (genome, name) for name in genome.lengths}
    for name in genome.lengths:
        chromosome = "chrM" if name in ("MT", "mitochondrion_genome") else f"chr{name}"
        for other in (chromosome, name.removeprefix("chr"), name.partition(".")[0]):
            found.setdefault(other, (genome, name))
    return found


def _of_intervals(file: Path, label: str, regions: Mapping[str, tuple[Genome, str]]) -> Iterator[Labelled]:
    table = _table(file)
    missing = [name for name in _INTERVAL if name not in table.column_names]
    if missing:
        raise UserError(f"The table {str(file)!r} has no column {missing[0]!r}: it should have intervals.")
    rows = zip(*(table.column(name).to_pylist() for name in _INTERVAL), strict=True)
    for number, (region, start, end, strand) in enumerate(rows, start=1):
        if not _is_interval(start, end) or strand not in ("+", "-"):
            raise UserError(f"Row {number} of {str(file)!r} is no interval.")
        if str(region) not in regions:
            raise UserError(
                f"Row {number} of {str(file)!r} names {region!r}, which the genome does not have."
            )
        genome, name = regions[str(region)]
        if end > genome.lengths[name]:
            raise UserError(f"Row {number} of {str(file)!r} ends behind {region!r}: another genome is meant.")
        sequence = _labelled(genome.read(name, start, end), label)
        yield sequence if strand == "+" else sequence._replace(bases=reverse_complement(sequence.bases))


def _is_interval(start: object, end: object) -> bool:
    return isinstance(start, int) and isinstance(end, int) and 0 <= start < end


def _natural(name: str) -> tuple[bool, int, str]:
    """Sort labels 0 … 10 as numbers, and before words."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name

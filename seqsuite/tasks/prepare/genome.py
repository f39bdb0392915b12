"""A genome read by range: FASTA encoded once into a memory-mapped file in the user's cache folder."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import cast

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter
from seqsuite.tasks.sources.fasta import MAX_AMBIGUOUS, N, Record, read_chunks
from seqsuite.tasks.sources.files import reason_of, shorten

log = logging.getLogger(__name__)

_RECIPE = 1
"""Part of the cache folder's name: raise it when the recipe changes what is written."""

_CODES = 6
"""A, C, G, T, N and the alignment gap."""


class Genome:
    """The records of a FASTA file by name, of which only the ranges that are asked for are read.

    Args:
        records: The token file; one byte a base, as :func:`seqsuite.tasks.sources.fasta.read_fasta` encodes.

    Attributes:
        lengths: Bases of each record. Its key is the first word of the record's name, as in BED files.

    Raises:
        UserError: if two records have the same name.
    """

    def __init__(self, records: TokenFile) -> None:
        self.records = records
        self.lengths: dict[str, int] = {}
        self._index: dict[str, int] = {}
        for index, name in enumerate(records.names or ()):
            key = name.split()[0] if name.split() else ""
            if key in self._index:
                raise UserError(f"Two records of the genome have the name {key!r}: give each its own.")
            self._index[key] = index
            self.lengths[key] = len(records[index])

    def record(self, name: str) -> Record:
        """Return a record (L,), memory-mapped.

        Raises:
            UserError: if there is none of this name.
        """
        if name not in self._index:
            raise UserError(f"The genome has no record {name!r}; it has {shorten(list(self._index))}.")
        return cast(Record, self.records[self._index[name]])

    def read(self, name: str, start: int, end: int) -> Record:
        """Return bases ``start … end - 1`` of a record; what lies outside it is N.

        Raises:
            UserError: if there is no record of this name.
        """
        record = self.record(name)
        bases = np.full(end - start, N, dtype=np.uint8)
        first, last = max(start, 0), min(end, len(record))
        if first < last:
            bases[first - start : last - start] = record[first:last]
        return bases


def open_genome(file: Path, *, max_ambiguous: float = MAX_AMBIGUOUS) -> Genome:
    """Return the genome in a FASTA file, plain or compressed, encoding it on first use.

    The encoded copy (one byte a base) lies in the user's cache folder, by the file's place, size and time of
    change. Processes that start together wait for the one that encodes.

    Raises:
        UserError: if the file is not FASTA or not DNA, or the cache folder cannot be written.
    """
    folder = _cache_folder(file, max_ambiguous)
    try:
        _fill(folder, file, max_ambiguous)
    except OSError as error:
        raise UserError(
            f"The index of {str(file)!r} cannot be kept in {str(folder.parent)!r}: {reason_of(error)}; "
            "point XDG_CACHE_HOME to a folder that you can write."
        ) from error
    return Genome(TokenFile(folder))


def _cache_folder(file: Path, max_ambiguous: float) -> Path:
    from platformdirs import user_cache_path

    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"The file {str(file)!r} cannot be read: {reason_of(error)}.") from error
    identity = f"{file.resolve()} {status.st_size} {status.st_mtime_ns} {max_ambiguous} {_RECIPE}"
    key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return user_cache_path("seqsuite") / "genomes" / f"{file.name}-{key}"


def _fill(folder: Path, file: Path, max_ambiguous: float) -> None:
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return
        log.info("Encoding %s once into %s", file, folder)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _encode(partial, file, max_ambiguous)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _encode(folder: Path, file: Path, max_ambiguous: float) -> None:
    name: str | None = None
    with TokenWriter(folder, _CODES, {"source": str(file.resolve())}) as writer:
        for chunk in read_chunks(file, max_ambiguous=max_ambiguous):
            if chunk.starts_record:
                if name is not None:
                    writer.end_stream(name)
                name = chunk.name
            writer.append(chunk.codes)
        if name is not None:
            writer.end_stream(name)

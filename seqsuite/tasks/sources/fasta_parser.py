"""FASTA from blocks of bytes to blocks of tokens: by look-up table, in bounded memory whatever the lines."""

import logging
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.wording import counted

log = logging.getLogger(__name__)

ALPHABET = "ACGTN"
"""Letters of the token ids 0 … 4."""

N = ALPHABET.index("N")
GAP = len(ALPHABET)
"""Stands for an alignment gap while records are split; no token."""

AMBIGUOUS, STOP, NOT_DNA = 6, 7, 255
"""What :data:`CODES` makes of ambiguity letters other than N, of ``*`` and of everything else."""

Record = npt.NDArray[np.uint8]

_BLANKS = b" \t\n\v\f"
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_LONGEST_NAME = 200


class Chunk(NamedTuple):
    """Tokens (L,) of a stretch of record ``name``; GAP stands for an alignment gap."""

    name: str
    codes: Record
    starts_record: bool


def _make_codes() -> bytes:
    codes = bytearray([NOT_DNA] * 256)
    for letters, code in [
        ("A", 0),
        ("C", 1),
        ("G", 2),
        ("TU", 3),
        ("NX?", N),
        ("-.", GAP),
        ("RYSWKMBDHV", AMBIGUOUS),
        ("*", STOP),
    ]:
        for letter in letters + letters.lower():
            codes[ord(letter)] = code
    return bytes(codes)


CODES = _make_codes()
"""Code of each byte, for :meth:`bytes.translate`."""


class FastaParser:
    """Takes a FASTA file block by block, wherever the blocks are cut.

    Args:
        file: What the messages name.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._name: str | None = None
        self._line: bytearray | None = None  # a name or comment, as far as it has been read
        self._at_file_start = self._at_line_start = True
        self._length = 0  # letters of the record so far
        self._begins = False  # whether a record has begun that no chunk tells of yet
        self._stopped = False  # whether its letters ended in '*'
        self._known = self._ambiguous = self._stops = 0
        self._blanks = False

    def feed(self, block: bytes) -> Iterator[Chunk]:
        """Yield the tokens of one block; the last must end in a newline.

        Raises:
            UserError: if it is not FASTA or not DNA.
        """
        if self._at_file_start:
            block = self._without_mark(block)
        if b"\r" in block:
            block = block.replace(b"\r", b"\n")
        starts, position = self._special_lines(block), 0
        while position < len(block):
            if self._line is not None:
                position = self._continue_line(block, position)
                if self._begins:
                    self._begins = False
                    yield Chunk(self._name or "", np.zeros(0, np.uint8), starts_record=True)
                continue
            following = bisect_left(starts, position)
            end = starts[following] if following < len(starts) else len(block)
            codes = self._encode(block[position:end])
            if len(codes):
                yield Chunk(self._name or "", codes, starts_record=False)
            self._line = bytearray() if end < len(block) else None
            position = end

    def finish(self, max_ambiguous: float) -> None:
        """Check the file as a whole, and log what was passed over.

        Raises:
            UserError: if there was no record, or too many letters were ambiguous.
        """
        if self._name is None:
            raise self._not_fasta()
        letters = self._known + self._ambiguous
        if self._ambiguous > max_ambiguous * letters:
            raise UserError(
                f"The file {str(self._file)!r} is not taken for DNA: {100 * self._ambiguous / letters:.0f} % "
                "of its letters are none of A, C, G, T and N; is it protein?"
            )
        if self._blanks:
            log.warning("%s: spaces or tabs among its letters are left out", self._file)
        if self._stops:
            log.warning("%s: a '*' at the end of %s is left out", self._file, counted(self._stops, "record"))

    def _without_mark(self, block: bytes) -> bytes:
        self._at_file_start = False
        if block.startswith(_UTF16_MARKS):
            raise UserError(f"The file {str(self._file)!r} is UTF-16 text: save it as plain text (UTF-8).")
        return block.removeprefix(_UTF8_MARK)

    def _special_lines(self, block: bytes) -> list[int]:
        """Return where lines begin that are names or comments."""
        characters = np.frombuffer(block, np.uint8)
        special = characters == ord(">")
        for comment in b";#":
            special |= characters == comment
        positions = np.flatnonzero(special)
        at_start = characters[positions - 1] == ord("\n")
        if len(positions) and positions[0] == 0:
            at_start[0] = self._at_line_start
        self._at_line_start = block.endswith(b"\n") if block else self._at_line_start
        starts: list[int] = positions[at_start].tolist()
        return starts

    def _continue_line(self, block: bytes, position: int) -> int:
        """Read a name or comment up to its end or the block's; return where."""
        line = self._line
        assert line is not None
        newline = block.find(b"\n", position)
        end = len(block) if newline < 0 else newline
        line += block[position : min(end, position + _LONGEST_NAME - len(line))]
        if newline < 0:
            return end
        self._line = None
        if line.startswith(b">"):
            self._name = line[1:].decode("latin-1").strip()
            self._begins, self._stopped, self._length = True, False, 0
        return newline + 1

    def _encode(self, raw: bytes) -> Record:
        if self._name is None:
            if raw.strip():
                raise self._not_fasta()
            return np.zeros(0, np.uint8)
        codes: Record = np.frombuffer(raw.translate(CODES, _BLANKS), np.uint8)
        if len(codes) and (codes.max() > GAP or self._stopped):
            codes = self._settle(codes, raw)
        self._blanks |= b"\t" in raw or b" " in raw
        self._known += int(np.count_nonzero(codes < N))
        self._length += len(codes)
        return codes

    def _settle(self, codes: Record, raw: bytes) -> Record:
        """Return codes without a final ``*`` and with N for ambiguous letters.

        Raises:
            UserError: if another letter is among them.
        """
        wrong = np.flatnonzero(codes >= STOP)
        if self._stopped:
            raise self._not_dna("*", self._length)
        if len(wrong) and (wrong[0] < len(codes) - 1 or codes[-1] != STOP):
            letter = chr(raw.translate(None, _BLANKS)[wrong[0]])
            raise self._not_dna(letter, self._length + int(wrong[0]))
        if len(wrong):
            self._stopped = True
            self._stops += 1
            codes = codes[:-1]
        ambiguous = codes == AMBIGUOUS
        self._ambiguous += int(np.count_nonzero(ambiguous))
        return np.where(ambiguous, np.uint8(N), codes)

    def _not_fasta(self) -> UserError:
        return UserError(f"The file {str(self._file)!r} is not FASTA: it does not begin with '>'.")

    def _not_dna(self, letter: str, position: int) -> UserError:
        return UserError(
            f"Record {self._name!r} of {str(self._file)!r} is not DNA: it has the letter {letter!r} "
            f"at {position + 1}."
        )

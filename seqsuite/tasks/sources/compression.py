"""Files that may be compressed, known by their first bytes and not by their names."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from seqsuite.errors import UserError
from seqsuite.tasks.sources.files import reason_of, require_regular

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSED_SUFFIXES = (".gz", ".bgz", ".bz2", ".xz")
"""Endings of compressed files inside a folder."""

BLOCK_SIZE = 1 << 20
"""Bytes read at once."""

MAX_EXPANSION = 1_200
"""More bytes from one byte than gzip and bzip2 give on real data, runs of N among it."""

FREE_EXPANSION = 1 << 30
"""A file that holds no more bytes than this is never called a bomb, however well it is packed."""

LONGEST_LINE = 1 << 26
"""Bytes of a line beyond which a file is not taken for lines of text."""

BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    struct.error,
    RuntimeError,
    NotImplementedError,
    OverflowError,
)
"""What :mod:`zipfile` raises, besides ``OSError``, at archives that are damaged, encrypted or unknown."""

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


def compression(file: Path) -> str | None:
    """Return ``"gzip"`` (BGZF too), ``"bzip2"`` or ``"xz"``, or ``None`` if the file begins as none of them.

    Raises:
        OSError: if it cannot be read.
        UserError: if it is not a regular file.
    """
    require_regular(file)
    with file.open("rb") as handle:
        head = handle.read(6)
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def read_blocks(file: Path, kind: str) -> Iterator[bytes]:
    """Yield the file's content in blocks of up to :data:`BLOCK_SIZE` bytes, decompressed where it is packed.

    Args:
        file: The file.
        kind: What it should be, for the messages, such as ``"FASTA"``.

    Raises:
        UserError: if it cannot be read or decompressed, or expands so far that it can only be a bomb.
    """
    try:
        packed = compression(file)
        limit = max(FREE_EXPANSION, MAX_EXPANSION * file.stat().st_size)
        size = 0
        with _open(file, packed) as handle:
            while block := handle.read(BLOCK_SIZE):
                size += len(block)
                if packed and size > limit:
                    raise UserError(
                        f"The file {str(file)!r} is left alone: its {file.stat().st_size} bytes of {packed} "
                        f"expand to more than {limit >> 20} MiB."
                    )
                yield block
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"The file {str(file)!r} cannot be read as {kind}: {reason_of(error)}.") from error


def open_lines(file: Path, kind: str) -> io.TextIOWrapper:
    """Return a file, decompressed where it is packed, as text for a parser; Latin-1 reads every byte.

    Raises:
        UserError: while it is read, as :func:`read_blocks`, or if a line is over :data:`LONGEST_LINE`.
    """
    blocks = _bounded_lines(read_blocks(file, kind), file, kind)
    return io.TextIOWrapper(io.BufferedReader(_BlockReader(blocks)), encoding="latin-1")


class _BlockReader(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _bounded_lines(blocks: Iterator[bytes], file: Path, kind: str) -> Iterator[bytes]:
    length = 0
    for block in blocks:
        newline = block.rfind(b"\n")
        length = length + len(block) if newline < 0 else len(block) - newline
        if length > LONGEST_LINE:
            raise UserError(f"The file {str(file)!r} is not {kind}: a line has over {LONGEST_LINE} bytes.")
        yield block


def _open(file: Path, packed: str | None) -> IO[bytes]:
    if packed == "gzip":
        return cast(IO[bytes], gzip.open(file, "rb"))
    if packed == "bzip2":
        return cast(IO[bytes], bz2.open(file, "rb"))
    if packed == "xz":
        return cast(IO[bytes], lzma.open(file, "rb"))
    return file.open("rb")

"""A corpus cut into parts that are tokenised one by one: text, JSON lines and Parquet of any size."""

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from seqsuite.errors import UserError
from seqsuite.tasks.sources import text
from seqsuite.tasks.sources.compression import (
    COMPRESSED_SUFFIXES,
    LONGEST_LINE,
    compression,
    read_blocks,
)
from seqsuite.tasks.sources.files import reason_of, require_regular, shorten
from seqsuite.tasks.sources.text import detect_encoding, read_text_blocks

_JSON_SUFFIXES = (".jsonl", ".ndjson")
_PARQUET_SUFFIXES = (".parquet",)
SUFFIXES = (
    *text.SUFFIXES,
    *_JSON_SUFFIXES,
    *(name + packed for name in _JSON_SUFFIXES for packed in COMPRESSED_SUFFIXES),
    *_PARQUET_SUFFIXES,
)

WHOLE = 1 << 62
"""Bytes of a part by which a file is not cut."""

_HEAD = 1 << 16
SEARCH = 1 << 20  # how far a newline is looked for where text is cut
_ROWS = 64


@dataclass(frozen=True)
class Part:
    """A stretch of a file.

    Attributes:
        file: The file.
        kind: What is in it.
        start: First byte, or number of the Parquet row group.
        end: Byte after the last; ``None`` for all of a file that cannot be cut.
        size: Bytes of the file that it stands for, for progress.
        is_last: Whether the file's last document ends with it.
    """

    file: Path
    kind: Literal["text", "json", "parquet"]
    start: int
    end: int | None
    size: int
    is_last: bool


def cut(file: Path, part_bytes: int, encoding: str | None) -> list[Part]:
    """Return the parts of a file, of about ``part_bytes`` each, cut between lines or row groups.

    Compressed files, and text that is not bytes of UTF-8 or Latin-1 as they stand, are one part.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        require_regular(file)
        size = file.stat().st_size
        name = file.name.lower()
        if name.endswith(_PARQUET_SUFFIXES):
            with _parquet(file) as table:
                groups = table.metadata.num_row_groups
            share = size // max(groups, 1)
            return [Part(file, "parquet", group, group + 1, share, True) for group in range(groups)]
        is_json = any(name.endswith(suffix) or f"{suffix}." in name for suffix in _JSON_SUFFIXES)
        kind: Literal["text", "json"] = "json" if is_json else "text"
        if compression(file) or not _can_be_cut(file, encoding):
            return [Part(file, kind, 0, None, size, True)]
        edges = [0]
        with file.open("rb") as handle:
            while edges[-1] + part_bytes < size:
                handle.seek(edges[-1] + part_bytes)
                edges.append(min(handle.tell() + _to_edge(handle, kind), size))
    except OSError as error:
        raise UserError(f"The file {str(file)!r} cannot be read: {reason_of(error)}.") from error
    ends = [*edges[1:], size] if edges[-1] < size or size == 0 else edges[1:]
    return [
        Part(file, kind, start, end, end - start, end == size)
        for start, end in zip(edges, ends, strict=False)
    ]


def documents(part: Part, field: str, encoding: str | None) -> Iterator[Iterator[bytes]]:
    """Yield the documents of a part, each as blocks of UTF-8, to be read in order.

    Text is one document a file, which goes on in the file's next part; JSON lines are one a line and Parquet
    one a row, their ``field``. Documents without text are left out.

    Raises:
        UserError: if the file is not what it should be, or has no such field.
    """
    if part.kind == "text":
        blocks = read_text_blocks(part.file, encoding) if part.end is None else _range(part)
        yield blocks
    elif part.kind == "json":
        yield from (iter((text,)) for text in _json_texts(part, field) if text)
    else:
        yield from (iter((text,)) for text in _parquet_texts(part, field) if text)


def _can_be_cut(file: Path, encoding: str | None) -> bool:
    with file.open("rb") as handle:
        head = handle.read(_HEAD)
    if encoding is not None:
        try:
            return codecs.lookup(encoding).name in ("utf-8", "ascii")
        except LookupError as error:
            raise UserError(f"task.encoding={encoding!r} is no encoding that Python knows.") from error
    return detect_encoding(head) in ("utf-8", "latin-1")


def _to_edge(handle: BinaryIO, kind: str) -> int:
    """Return how many bytes from here the next line begins, or, in text without lines, a character."""
    read = 0
    while block := handle.read(SEARCH):
        newline = block.find(b"\n")
        if newline >= 0:
            return read + newline + 1
        if kind == "text":
            return next((i for i, byte in enumerate(block[:4]) if byte & 0xC0 != 0x80), 0)
        read += len(block)
        if read > LONGEST_LINE:
            break
    return read


def _range(part: Part) -> Iterator[bytes]:
    assert part.end is not None
    with part.file.open("rb") as handle:
        handle.seek(part.start)
        left = part.end - part.start
        while left and (block := handle.read(min(left, SEARCH))):
            left -= len(block)
            yield block


def _lines(part: Part) -> Iterator[bytes]:
    blocks = read_blocks(part.file, "JSON lines") if part.end is None else _range(part)
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            raise UserError(
                f"The file {str(part.file)!r} is not JSON lines: a line has over {len(rest)} bytes."
            )
    yield rest


def _json_texts(part: Part, field: str) -> Iterator[bytes]:
    where = part.start
    for line in _lines(part):
        if line.strip():
            try:
                value = json.loads(line.removeprefix(codecs.BOM_UTF8))[field]
                if not isinstance(value, str):
                    raise TypeError(f"{field!r} is no text")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(
                    f"The file {str(part.file)!r} is not JSON lines with a text {field!r} in each: "
                    f"see byte {where}."
                ) from error
            yield value.encode("utf-8", errors="replace")
        where += len(line) + 1


@contextmanager
def _parquet(file: Path) -> Iterator[Any]:
    """Yield an open Parquet file, and make one sentence of what may be wrong with it.

    Raises:
        UserError: if it cannot be read, within the block too.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            yield table
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"The file {str(file)!r} cannot be read as Parquet: {reason_of(error)}.") from error


def _parquet_texts(part: Part, field: str) -> Iterator[bytes]:
    import pyarrow

    with _parquet(part.file) as table:
        names = table.schema_arrow.names
        if field not in names:
            raise UserError(f"The file {str(part.file)!r} has no column {field!r}; it has {shorten(names)}.")
        for batch in table.iter_batches(batch_size=_ROWS, row_groups=[part.start], columns=[field]):
            yield from (value for value in batch.column(0).cast(pyarrow.binary()).to_pylist() if value)

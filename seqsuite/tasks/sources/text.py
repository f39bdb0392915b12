"""Text in any usual encoding as bytes of UTF-8, read in blocks."""

import codecs
import logging
from collections.abc import Iterator
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.tasks.sources.compression import COMPRESSED_SUFFIXES, read_blocks

log = logging.getLogger(__name__)

_TEXT_SUFFIXES = (".txt", ".text", ".md", ".raw")
SUFFIXES = (
    *_TEXT_SUFFIXES,
    *(text + packed for text in _TEXT_SUFFIXES for packed in COMPRESSED_SUFFIXES),
)

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 1 << 16
_MOSTLY = 0.4  # share of zeros among every second byte by which UTF-16 without a mark is known


def detect_encoding(head: bytes) -> str:
    """Return what the first bytes of a text are: a name that Python knows.

    By their byte-order mark: ``"utf-8-sig"``, ``"utf-16"`` and ``"utf-32"``; by their zeros: ``"utf-16-le"``,
    ``"utf-16-be"`` and ``"binary"``; ``"utf-8"`` if they are valid as it, as ASCII is; else ``"latin-1"``.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" in head:
        half = len(head) // 2
        even, odd = head[0 : 2 * half : 2].count(0), head[1 : 2 * half : 2].count(0)
        if odd > _MOSTLY * half and not even:
            return "utf-16-le"
        return "utf-16-be" if even > _MOSTLY * half and not odd else "binary"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def read_text(file: Path, encoding: str | None = None) -> bytes:
    """Return a text file as bytes of UTF-8; see :func:`read_text_blocks`.

    Raises:
        UserError: if it cannot be read, is not text, or is not in the encoding.
    """
    return b"".join(read_text_blocks(file, encoding))


def read_text_blocks(file: Path, encoding: str | None = None) -> Iterator[bytes]:
    """Yield a text file, which may be compressed, as blocks of UTF-8.

    Args:
        file: The file.
        encoding: Its encoding, a name that Python knows. By default UTF-8, UTF-16 and UTF-32 are told apart
            by their bytes, and what is none of them is taken as it stands, byte by byte; the log names
            everything but UTF-8.

    Raises:
        UserError: if it cannot be read, is not text, or is not in the encoding.
    """
    blocks = read_blocks(file, "text")
    head = next(blocks, b"")
    if encoding is None:
        detected = detect_encoding(head[:_HEAD])
        if detected == "binary":
            raise UserError(f"The file {str(file)!r} is not plain text: it has zero bytes in it.")
        if detected in ("utf-8", "latin-1"):
            yield from _as_they_are(file, head, blocks)
            return
        log.warning("%s is %s text; it is read as such", file, detected.removesuffix("-sig").upper())
        encoding = "utf-8-sig" if detected == "utf-8-sig" else detected
    yield from _decode(file, encoding, head, blocks)


def _as_they_are(file: Path, head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield all blocks unchanged, and say so once if they are not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, valid = 0, True
    block: bytes | None = head
    while block is not None:
        following = next(blocks, None)
        if valid:
            try:
                decoder.decode(block, final=following is None)
            except UnicodeDecodeError as error:
                valid = False
                log.warning(
                    "%s is not UTF-8 (about byte %d): it looks like Latin-1 and its bytes are taken as they "
                    "are; task.encoding=latin-1 makes UTF-8 of it",
                    file,
                    position + error.start,
                )
        position += len(block)
        if block:
            yield block
        block = following


def _decode(file: Path, encoding: str, head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        "".encode(encoding)  # also refuses what is no encoding of text, such as "hex"
    except LookupError as error:
        raise UserError(f"task.encoding={encoding!r} is no encoding that Python knows.") from error
    decoder = codecs.getincrementaldecoder(encoding)()
    block: bytes | None = head
    try:
        while block is not None:
            following = next(blocks, None)
            text = decoder.decode(block, final=following is None)
            if text:
                yield text.encode("utf-8")
            block = following
    except UnicodeError as error:
        reason = getattr(error, "reason", str(error))
        raise UserError(f"The file {str(file)!r} is not {encoding} text: {reason}.") from error

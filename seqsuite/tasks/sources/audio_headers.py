"""What the headers of audio files claim, where the library that reads them believes too much."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_UNKNOWN = (0, 0xFFFFFFFF)
"""Sizes in a header that a program writes when it cannot go back and fill them in."""

_HEAD = 1 << 16
_LONGEST_PAGE = 1 << 16  # bytes of an Ogg page, and a little
_FLAC_TOTAL = slice(21, 26)  # of which the upper half byte is part of the sample size
_MAX_FRAMES = 1 << 62  # libsndfile's word for "unknown" lies above


class _Patched(io.RawIOBase):
    """A file some of whose bytes read as others.

    Args:
        file: The file.
        start: Where the other bytes begin.
        patch: The other bytes.
    """

    def __init__(self, file: BinaryIO, start: int, patch: bytes) -> None:
        self._file, self._start, self._patch = file, start, patch

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        position = self._file.tell()
        content = bytearray(self._file.read(len(view)))
        for index, byte in enumerate(self._patch, start=self._start - position):
            if 0 <= index < len(content):
                content[index] = byte
        view[: len(content)] = content
        return len(content)


@contextmanager
def corrected(file: Path) -> Iterator["BinaryIO | io.RawIOBase | Path"]:
    """Yield ``file`` as the library should see it: with the length left open where the header may be wrong.

    A WAV file whose data has the size 0, as a program leaves it that was stopped, gets the size there is; a
    FLAC file's number of samples becomes "unknown", so that it is read to its end.
    """
    with file.open("rb") as handle:
        head = handle.read(_HEAD)
        patch = _patch(head, file.stat().st_size)
        handle.seek(0)
        yield file if patch is None else _Patched(handle, *patch)


def shortfall(file: Path, frames: int, claimed: int) -> str:
    """Return what is missing of an audio file, in words, or nothing.

    Args:
        file: The file.
        frames: How many were read.
        claimed: How many the library expected.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        head = handle.read(_HEAD)
        handle.seek(max(size - _LONGEST_PAGE, 0))
        tail = handle.read()
    if head.startswith(b"fLaC"):
        claimed = _flac_total(head)
    if head.startswith(b"OggS"):
        return "" if _ogg_ends(tail) else "its last page is not marked as the last"
    wanted = _container_size(head)
    if wanted > size:
        return f"it has {size} of the {wanted} bytes that its header claims"
    if frames < claimed < _MAX_FRAMES:
        return f"it has {frames} of the {claimed} samples that its header claims"
    return ""


def _patch(head: bytes, size: int) -> tuple[int, bytes] | None:
    if head.startswith(b"fLaC") and len(head) > _FLAC_TOTAL.stop:
        return _FLAC_TOTAL.start, bytes([head[_FLAC_TOTAL.start] & 0xF0, 0, 0, 0, 0])
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        position = 12
        while position + 8 <= len(head):
            length = int.from_bytes(head[position + 4 : position + 8], "little")
            if head[position : position + 4] == b"data":
                there = size - position - 8
                patch = min(there, 0xFFFFFFFF - 1).to_bytes(4, "little")
                return (position + 4, patch) if length in _UNKNOWN and there > 0 else None
            position += 8 + length + length % 2
    return None


def _flac_total(head: bytes) -> int:
    return int.from_bytes(head[_FLAC_TOTAL], "big") & 0xFFFFFFFFF


def _container_size(head: bytes) -> int:
    """Return the bytes that the file should have by its header, or 0 where it does not say."""
    if head.startswith(b"RIFF"):
        length = int.from_bytes(head[4:8], "little")
    elif head.startswith(b"FORM"):
        length = int.from_bytes(head[4:8], "big")
    else:
        return 0
    return 0 if length in _UNKNOWN else length + 8


def _ogg_ends(tail: bytes) -> bool:
    last = tail.rfind(b"OggS")
    return last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & 4)

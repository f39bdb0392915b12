"""Text as the bytes of UTF-8."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.tasks.codecs.base import Codec, TokenIds
from seqsuite.tasks.sources.files import read_bytes

_UNSHOWABLE = re.compile(r"[^\n\t -~\u00a0-\U0010ffff]")


class BytesCodec(Codec):
    """A token is a byte."""

    suffix = ".txt"

    def encode(self, text: str) -> TokenIds:
        """Return the bytes of the text."""
        content = text.encode("utf-8", errors="surrogateescape")  # how Python has bytes that are not UTF-8
        return np.frombuffer(content, dtype=np.uint8).astype(np.int64)

    def read(self, path: Path) -> TokenIds:
        """Return the bytes of a file."""
        return np.frombuffer(read_bytes(path), dtype=np.uint8).astype(np.int64)

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return the bytes as UTF-8 text; what a terminal cannot show becomes U+FFFD."""
        return _UNSHOWABLE.sub("\ufffd", _to_bytes(tokens).decode("utf-8", errors="replace"))

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the bytes as they are."""
        path.write_bytes(_to_bytes(tokens))


def _to_bytes(tokens: Sequence[int] | TokenIds) -> bytes:
    return np.asarray(tokens, dtype=np.uint8).tobytes()

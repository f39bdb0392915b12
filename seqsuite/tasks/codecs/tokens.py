"""Text as the tokens of a tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.tasks.codecs.base import Codec, TokenIds
from seqsuite.tasks.codecs.bytes import BytesCodec
from seqsuite.tasks.prepare.tokenizers import Tokenizer
from seqsuite.tasks.sources.files import read_bytes


class TokensCodec(Codec):
    """A token is one of a tokenizer's.

    Args:
        tokenizer: The tokenizer.
    """

    suffix = ".txt"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> TokenIds:
        """Return the tokens of the text."""
        return self._tokenizer.encode(text.encode("utf-8", errors="surrogateescape"))

    def read(self, path: Path) -> TokenIds:
        """Return the tokens of a file."""
        return self._tokenizer.encode(read_bytes(path))

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return the text; what a terminal cannot show becomes U+FFFD."""
        return BytesCodec().decode(np.frombuffer(self._text(tokens), dtype=np.uint8).astype(np.int64))

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the text."""
        path.write_bytes(self._text(tokens))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, and what ``transformers`` needs beside it."""
        if self._tokenizer.file is not None:
            (folder / "tokenizer.json").write_bytes(read_bytes(self._tokenizer.file))
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
            (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")

    def _text(self, tokens: Sequence[int] | TokenIds) -> bytes:
        return self._tokenizer.decode(np.asarray(tokens, dtype=np.int64))

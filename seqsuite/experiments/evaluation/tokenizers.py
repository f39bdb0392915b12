"""From text to token ids and back, for models of text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import reads_bytes
from seqsuite.models.formats.files import locate, read_description
from seqsuite.tasks.codecs.base import Codec, TokenIds

_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


class Tokenizer(Protocol):
    """What turns text into token ids and back.

    Attributes:
        name: What identifies it.
        prefix: Token that stands before a text's first.
        end: Token that ends a text, or ``None``.
    """

    name: str
    prefix: int
    end: int | None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any that were not in it."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ids."""


class Bytes:
    """Each byte of UTF-8 is a token, as in the task ``text``; a new line comes before a text."""

    name = "bytes"
    prefix = ord("\n")
    end: int | None = None

    def encode(self, text: str) -> list[int]:
        """Return the text's bytes."""
        return list(text.encode("utf-8"))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the bytes' text, with U+FFFD for what is none."""
        return bytes(tokens).decode("utf-8", errors="replace")


class Pretrained:
    """A tokenizer of ``transformers``, from files beside a model.

    Args:
        folder: Where its files are.

    Raises:
        UserError: if the extra ``hf`` is not installed, or the files are damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise UserError(
                f"The tokenizer in {folder} needs the extra hf: pip install 'seqsuite[hf]'."
            ) from error
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # whatever its own code or the files in the folder raise
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UserError(f"The tokenizer in {folder} cannot be read: {reason}.") from error
        self.name = str(folder)
        self.end: int | None = self._tokenizer.eos_token_id
        first = self._tokenizer.bos_token_id
        self.prefix: int = next((token for token in (first, self.end) if token is not None), 0)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special ones."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ids."""
        text: str = self._tokenizer.decode(list(tokens))
        return text


class TextCodec(Codec):
    """Text by a tokenizer.

    Args:
        tokenizer: What turns text into token ids and back.
    """

    suffix = ".txt"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self) -> TokenIds:
        """Return the token that stands before a text."""
        return np.array([self._tokenizer.prefix])

    def encode(self, text: str) -> TokenIds:
        """Return the tokens of a text."""
        return np.array(self._tokenizer.encode(text), dtype=np.int64)

    def read(self, path: Path) -> TokenIds:
        """Return the tokens of a text file.

        Raises:
            UserError: if it cannot be read, or is not text.
        """
        try:
            return self.encode(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The file {str(path)!r} cannot be read as text: {error}.") from error

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return the text of tokens."""
        return self._tokenizer.decode([int(token) for token in tokens])

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the text of tokens."""
        path.write_text(self.decode(tokens), encoding="utf-8")


def tokenizer_for(
    folder: Path, name: str | None = None, called: str | None = None, usual: str | None = None
) -> Tokenizer:
    """Return a model's tokenizer: the one named, that beside it, bytes if it reads them, or the usual.

    Args:
        folder: The model's folder.
        name: Folder, or name on the hub, of a tokenizer.
        called: What to call the model in a message, by default its folder.
        usual: Folder, or name on the hub, of the tokenizer of models that have none of their own.

    Raises:
        UserError: if it has none.
    """
    if name is not None:
        return Pretrained(locate(name, weights=False))
    if any((folder / file).is_file() for file in _FILES):
        return Pretrained(folder)
    if reads_bytes(read_description(folder)):
        return Bytes()
    if usual is not None:
        return Pretrained(locate(usual, weights=False))
    raise UserError(
        f"The model {called or folder} is not one of text: it has no tokenizer, and its tokens are not "
        "bytes. If it is, say with --tokenizer where its tokenizer is."
    )

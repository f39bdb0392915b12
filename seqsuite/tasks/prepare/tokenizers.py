"""From text to tokens: its bytes, or byte-pair encoding from a ``tokenizer.json``."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.sources.files import read_bytes, reason_of

Ids = npt.NDArray[np.int64]

_BYTE_TOKEN = re.compile(r"^<0x[0-9A-F]{2}>$")


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
        vocab_size: Ids are ``0 … vocab_size - 1``.
        file: The ``tokenizer.json`` it comes from, if any.
    """

    vocab_size: int
    file: Path | None = None

    @abstractmethod
    def encode(self, text: bytes) -> Ids:
        """Return the ids (L,) of text in UTF-8."""

    @abstractmethod
    def decode(self, ids: npt.NDArray[np.generic]) -> bytes:
        """Return the text of ids (L,)."""

    @abstractmethod
    def token_bytes(self) -> npt.NDArray[np.float64]:
        """Return how many bytes of text each token stands for (V,)."""


class Bytes(Tokenizer):
    """A token is a byte."""

    vocab_size = 256

    def encode(self, text: bytes) -> Ids:
        """Return the bytes."""
        return np.frombuffer(text, dtype=np.uint8).astype(np.int64)

    def decode(self, ids: npt.NDArray[np.generic]) -> bytes:
        """Return the bytes."""
        return ids.astype(np.uint8).tobytes()

    def token_bytes(self) -> npt.NDArray[np.float64]:
        """Return ones."""
        return np.ones(self.vocab_size)


class BytePairs(Tokenizer):
    """Byte-pair encoding (or any other model) from a file of the ``tokenizers`` library.

    Args:
        file: A local ``tokenizer.json``.

    Raises:
        UserError: if the library is not installed, or the file is not such a tokenizer.
    """

    def __init__(self, file: Path) -> None:
        tokenizers = _library()
        content = read_bytes(file)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"The file {str(file)!r} is not a tokenizer.json: {reason_of(error)}.") from error
        self.file = file
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text: bytes) -> Ids:
        """Return the ids; bytes that are not UTF-8 become U+FFFD."""
        encoding = self._tokenizer.encode(text.decode("utf-8", errors="replace"), add_special_tokens=False)
        return np.array(encoding.ids, dtype=np.int64)

    def decode(self, ids: npt.NDArray[np.generic]) -> bytes:
        """Return the text."""
        text: str = self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        return text.encode("utf-8")

    def token_bytes(self) -> npt.NDArray[np.float64]:
        """Return each token's bytes: exact for byte-level tokenizers, whose letters stand for a byte each.

        Of others ``▁`` counts as the blank and ``<0x0A>`` as the byte that it stands for.
        """
        tokens = [self._tokenizer.id_to_token(number) or "" for number in range(self.vocab_size)]
        if type(self._tokenizer.decoder).__name__ == "ByteLevel":
            return np.array([float(len(token)) for token in tokens])
        plain = (_BYTE_TOKEN.sub("b", token.replace("\u2581", " ")) for token in tokens)
        return np.array([float(len(token.encode("utf-8"))) for token in plain])


def open_tokenizer(file: Path | None) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``, or :class:`Bytes`.

    Raises:
        UserError: as :class:`BytePairs`.
    """
    return Bytes() if file is None else BytePairs(file)


def train_byte_pairs(texts: Iterable[bytes], vocab_size: int, file: Path) -> Tokenizer:
    """Train byte-level byte-pair encoding on ``texts`` and write it to ``file``.

    Every byte is in the vocabulary, so that any text can be encoded and comes back as it was.

    Raises:
        UserError: if the ``tokenizers`` library is not installed, or ``vocab_size`` is below 256.
    """
    tokenizers = _library()
    if vocab_size < Bytes.vocab_size:
        raise UserError(f"A vocabulary of {vocab_size} is too small: bytes alone are 256.")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    decoded = (text.decode("utf-8", errors="replace") for text in texts)
    tokenizer.train_from_iterator(decoded, trainer=trainer)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(tokenizer.to_str(), encoding="utf-8")
    return BytePairs(file)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            "Byte-pair encoding needs the package tokenizers: run pip install 'seqsuite[hf]'."
        ) from error
    return tokenizers

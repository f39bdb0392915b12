"""Text as words of a fixed vocabulary."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.tasks.codecs.base import Codec, TokenIds
from seqsuite.tasks.sources.files import read_bytes


class WordsCodec(Codec):
    """A token is a word, or a sign with blanks around it.

    Args:
        words: The vocabulary: the i-th word is token i.
        end: The sign that every text ends with, which is added where a user leaves it out; ``None`` if none.
    """

    suffix = ".txt"

    def __init__(self, words: Sequence[str], end: str | None = None) -> None:
        self.words, self.end = tuple(words), end
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def encode(self, text: str) -> TokenIds:
        """Return the words of a text, whatever their case, and the sign that ends it.

        Raises:
            UserError: if one is not in the vocabulary.
        """
        tokens = []
        for word in text.split():
            number = self._numbers.get(word, self._numbers.get(word.lower()))
            if number is None:
                raise UserError(
                    f"The word {word!r} is not in the vocabulary of {len(self.words)} words."
                    f"{did_you_mean(word.lower(), self.words)}"
                )
            tokens.append(number)
        if tokens and self.end is not None and self.words[tokens[-1]] != self.end:
            tokens.append(self._numbers[self.end])
        return np.array(tokens, dtype=np.int64)

    def read(self, path: Path) -> TokenIds:
        """Return the words of a text file."""
        return self.encode(read_bytes(path).decode("utf-8", errors="replace"))

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return the words with blanks between them."""
        return " ".join(self.words[int(token)] for token in tokens)

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the words as one line of text."""
        path.write_text(self.decode(tokens) + "\n", encoding="utf-8")

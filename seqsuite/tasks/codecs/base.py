"""The contract of a codec."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.int64]


class Codec(ABC):
    """Turns token ids into text, FASTA or WAV, and such input into token ids."""

    suffix: ClassVar[str]
    """Suffix of the files that :meth:`write` writes, such as ``".fasta"``."""

    copied_as_text: ClassVar[bool] = False
    """Whether they are text by a suffix that MLflow's pages do not show: a ``.txt`` is published beside."""

    @abstractmethod
    def encode(self, text: str) -> TokenIds:
        """Return the tokens (L,) of a prompt that a user typed.

        Raises:
            UserError: if it cannot be typed as text.
        """

    @abstractmethod
    def read(self, path: Path) -> TokenIds:
        """Return the tokens (L,) of a file, as :meth:`write` writes it.

        Raises:
            UserError: if the file cannot be read.
        """

    @abstractmethod
    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return tokens as text that a terminal can show."""

    def preview(self, tokens: Sequence[int] | TokenIds, length: int) -> str:
        """Return in a line or a few what tokens are: their beginning, by default the first ``length``."""
        return self.decode(tokens[:length]) + ("…" if len(tokens) > length else "")

    @abstractmethod
    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write tokens to a file."""

    def save(self, folder: Path) -> None:  # noqa: B027  # most codecs need no files
        """Write the files by which a model's tokens are read without its task, as a tokenizer's, if any."""

    def draw(self, tokens: Sequence[int] | TokenIds, path: Path) -> bool:
        """Draw tokens as a picture into a PNG file, where a picture says more than they do.

        Returns:
            Whether there is one: by default there is none.
        """
        return False

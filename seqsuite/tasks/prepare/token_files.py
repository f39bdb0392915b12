"""Token streams in one memory-mapped file: a corpus or a genome larger than memory, read by range."""

import hashlib
import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.manifest import read_manifest, write_manifest

Tokens = npt.NDArray[np.unsignedinteger[Any]]

_TOKENS, _ENDS, _NAMES = "tokens.bin", "ends.npy", "names.json"


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the smallest type of ``vocab_size`` tokens: uint8, uint16 or uint32."""
    return np.min_scalar_type(vocab_size - 1)


class TokenFile:
    """The streams of a folder that :class:`TokenWriter` wrote: documents, records or pieces.

    Args:
        folder: The folder.

    Attributes:
        tokens: All tokens (T,), memory-mapped and read-only.
        ends: Where each stream ends in ``tokens`` (S,), int64.
        names: The streams' names, if they have some.
        facts: What was said of them when they were written, such as ``vocab_size``.

    Raises:
        UserError: if the folder was not finished, or has been damaged.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None or "dtype" not in manifest:
            raise UserError(f"The folder {str(folder)!r} has no finished token file: prepare it again.")
        self.folder = folder
        self.facts: Mapping[str, Any] = manifest
        try:
            self.tokens = _map_tokens(folder / _TOKENS, manifest["dtype"], manifest["tokens"])
            self.ends: npt.NDArray[np.int64] = np.load(
                folder / _ENDS, mmap_mode="r" if manifest["streams"] else None
            )
            self.names: tuple[str, ...] | None = None
            if (folder / _NAMES).is_file():
                self.names = tuple(json.loads((folder / _NAMES).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"The token file in {str(folder)!r} is damaged: remove the folder and prepare it again."
            ) from error

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Tokens:
        """Return stream number ``index`` (L,), of which only what is looked at is read."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self.ends[index - 1]) if index else 0
        return self.tokens[start : int(self.ends[index])]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the tokens and of where their streams end."""
        files = self.facts["files"]
        return hashlib.sha256((files[_TOKENS]["sha256"] + files[_ENDS]["sha256"]).encode()).hexdigest()


def _map_tokens(file: Path, dtype: str, count: int) -> Tokens:
    if not count:  # nothing cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r", shape=(count,))


class TokenWriter:
    """Writes streams of tokens to a folder, which is a :class:`TokenFile` once the block ends well.

    Args:
        folder: Where to; made if it is not there.
        vocab_size: Tokens are ``0 … vocab_size - 1``.
        facts: What else to record.
    """

    def __init__(self, folder: Path, vocab_size: int, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        self._facts = {**facts, "vocab_size": vocab_size, "dtype": token_dtype(vocab_size).name}
        self._dtype = token_dtype(vocab_size)
        self._count = 0
        self._ends = array("q")
        self._names: list[str] = []

    def append(self, tokens: npt.NDArray[np.generic]) -> None:
        """Add tokens (L,) to the current stream."""
        self._handle.write(np.ascontiguousarray(tokens, dtype=self._dtype).data)
        self._count += len(tokens)

    def end_stream(self, name: str | None = None) -> None:
        """End the current stream; either all have a name or none has."""
        self._ends.append(self._count)
        if name is not None:
            self._names.append(name)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._handle = (self._folder / _TOKENS).open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()
        if kind is not None:
            return
        np.save(self._folder / _ENDS, np.array(self._ends, dtype=np.int64))
        files = [_TOKENS, _ENDS]
        if self._names:
            (self._folder / _NAMES).write_text(json.dumps(self._names), encoding="utf-8")
            files.append(_NAMES)
        write_manifest(
            self._folder, files, {**self._facts, "tokens": self._count, "streams": len(self._ends)}
        )

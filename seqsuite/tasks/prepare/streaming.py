"""Sets of text too large to be fetched whole: streamed up to a wanted amount, resumable, kept as Parquet.

What has arrived is a folder of files like any other, so that rows of training are what they are for every
corpus: a function of the seed and their number, whatever the network does.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.download import Progress
from seqsuite.tasks.prepare.manifest import read_manifest, replace_text, write_manifest
from seqsuite.tasks.prepare.recipes import Recipe, Streamed
from seqsuite.tasks.sources.files import reason_of, shorten

PART_BYTES = 1 << 26
"""Bytes of text after which a file is closed; what an interruption costs at most."""

COLUMN = "text"
"""Column of the files that holds the documents, whatever the set calls it."""

_STATE = ".stream.json"
_GROUP = 1 << 10  # documents of a row group
_SPARE = 1 << 26  # bytes of the disk to leave free


class Documents(Protocol):
    """What is used of ``datasets.IterableDataset``."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def state_dict(self) -> dict[str, Any]:
        """Return where the stream is."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there."""

    def skip(self, n: int) -> "Documents":
        """Return the stream without its first ``n`` documents."""


@dataclass
class Position:
    """How far a set has been streamed; written after each file.

    Attributes:
        files: Names of the files, in order.
        documents: Documents in them.
        bytes: Bytes of their text.
        whole: Whether the stream has ended.
        rows: Rows of the stream that were read, those without text among them.
        version: Version of ``datasets`` that ``state`` is of.
        state: Where the stream goes on.
    """

    files: list[str] = field(default_factory=list)
    documents: int = 0
    rows: int = 0
    bytes: int = 0
    whole: bool = False
    version: str = ""
    state: dict[str, Any] = field(default_factory=dict)

    def has(self, wanted: int) -> bool:
        """Return whether so many bytes are there, or all that there are."""
        return self.whole or self.bytes >= wanted

    def add(self, taken: "Taken", folder: Path) -> None:
        """Write documents as the next file."""
        if taken.texts:
            name = f"part-{len(self.files):05d}.parquet"
            _write(taken.texts, folder / name)
            self.files.append(name)
        self.documents += len(taken.texts)
        self.bytes += taken.size
        self.rows += taken.rows
        self.whole = taken.ended


class Taken(NamedTuple):
    """Documents of a stream, bytes of their text, rows that were read, and whether the stream has ended."""

    texts: list[str]
    size: int
    rows: int
    ended: bool


def is_streamed(folder: Path, wanted: int) -> bool:
    """Return whether a folder has so many bytes of text, or all that there are, and is declared whole."""
    manifest = read_manifest(folder)
    return manifest is not None and (manifest.get("whole") is True or manifest.get("bytes", 0) >= wanted)


def read_position(folder: Path) -> Position:
    """Return how far a set has been streamed into a folder."""
    try:
        position = Position(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Position()
    return position if all((folder / name).is_file() for name in position.files) else Position()


def stream_set(recipe: Recipe, folder: Path, wanted: int, progress: Progress) -> None:
    """Stream documents into ``folder`` until they have ``wanted`` bytes of text, and declare it whole.

    What an earlier call streamed is kept, and more may be wanted later; the documents are those that one call
    would have got. The last document is kept whole.

    Raises:
        UserError: if ``datasets`` is not installed, the set cannot be read, or the disk is full; what has
            arrived is kept.
    """
    streamed = recipe.stream
    assert streamed is not None
    folder.mkdir(parents=True, exist_ok=True)
    position = read_position(folder)
    _require_space(wanted - position.bytes, folder)
    if not position.has(wanted):
        _stream(recipe.name, streamed, folder, position, wanted, progress)
    if not position.files:
        raise UserError(f"The set {recipe.name} has no documents with text.")
    facts = {"documents": position.documents, "bytes": position.bytes, "whole": position.whole}
    write_manifest(folder, position.files, {"name": recipe.name, "sources": [streamed.dataset], **facts})


def _stream(
    name: str, streamed: Streamed, folder: Path, position: Position, wanted: int, progress: Progress
) -> None:
    datasets = _library()
    try:
        documents = _open(datasets, streamed, position)
        rows = iter(documents)
        while not position.has(wanted):
            before = position.bytes
            taken = _take(
                rows,
                streamed.field,
                min(PART_BYTES, wanted - before),
                partial(_tell, progress, name, before, wanted),
            )
            position.add(taken, folder)
            position.state, position.version = documents.state_dict(), datasets.__version__
            replace_text(folder / _STATE, json.dumps(asdict(position)))
    except UserError:
        raise
    except Exception as error:  # whatever a library of many hosts and formats raises
        raise UserError(
            f"The set {name} cannot be streamed: {reason_of(error)}; {position.bytes / 1e6:.1f} MB of text "
            "have arrived and are kept: run the command again to go on."
        ) from error


def _library() -> Any:
    try:
        import datasets
    except ImportError as missing:
        raise UserError(
            "A streamed set needs the package datasets: run pip install 'seqsuite[hf]'."
        ) from missing
    return datasets


def _open(datasets: Any, streamed: Streamed, position: Position) -> Documents:
    """Return the stream from where it goes on."""
    documents: Documents = datasets.load_dataset(
        streamed.dataset,
        streamed.config,
        split=streamed.split,
        revision=streamed.revision,
        data_files=list(streamed.data_files) or None,
        streaming=True,
    )
    if position.version == datasets.__version__:
        documents.load_state_dict(position.state)
    elif position.rows:  # states of another version may mean something else
        documents = documents.skip(position.rows)
    return documents


def _tell(progress: Progress, name: str, before: int, wanted: int, size: int) -> None:
    progress(name, before + size, wanted)


def _take(rows: Iterator[dict[str, Any]], column: str, most: int, told: Callable[[int], None]) -> Taken:
    """Return documents until their text has ``most`` bytes; those without text are left out."""
    texts: list[str] = []
    size = count = 0
    while size < most:
        row = next(rows, None)
        if row is None:
            return Taken(texts, size, count, True)
        count += 1
        text = row.get(column)
        if not isinstance(text, str):
            raise UserError(f"The set has no text {column!r} in each row; it has {shorten(list(row))}.")
        if text.strip():
            encoded = text.encode("utf-8", errors="replace")
            texts.append(encoded.decode())
            size += len(encoded)
            told(size)
    return Taken(texts, size, count, False)


def _write(texts: Sequence[str], file: Path) -> None:
    """Write documents as a Parquet file, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    partial = file.with_name(f"{file.name}.partial")
    pyarrow.parquet.write_table(pyarrow.table({COLUMN: texts}), partial, row_group_size=_GROUP)
    os.replace(partial, file)


def _require_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise UserError(
            f"The text has {needed / 1e6:.0f} MB more, and {str(folder)!r} has {free / 1e6:.0f} MB free: "
            "free some space, or choose another place by SEQSUITE_DATA."
        )

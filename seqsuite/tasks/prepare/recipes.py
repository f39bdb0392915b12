"""Public data sets by name: what they are, under which licence, where they lie and what must arrive."""

import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.tasks.base import SPLITS


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        url: Where it lies.
        size: Its bytes, if known.
        sha256: Its SHA-256 in hexadecimal, if known.
        unpack: How it is packed, if it should be unpacked.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    unpack: Literal["zip", "tar"] | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return Path(urlparse(self.url).path).name


@dataclass(frozen=True)
class Streamed:
    """A set that is read by ``datasets``, without being fetched whole.

    Attributes:
        dataset: Its name on the hub, or a format such as ``parquet`` with ``data_files``.
        bytes: How many bytes of text are fetched where nothing else is wanted.
        config: Which of its subsets.
        split: Which of its splits.
        field: What holds the text.
        revision: Commit or tag; the newest where there is none.
        data_files: Files, where it is not on the hub.
    """

    dataset: str
    bytes: int
    config: str | None = None
    split: str = "train"
    field: str = "text"
    revision: str | None = None
    data_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Division:
    """How a set that is one file is divided in its field: so many bytes of each split, in this order.

    Each becomes a file that is named after its split, as ``splits/train.txt``, so that whatever reads that
    folder keeps to it.

    Attributes:
        file: The file, relative to the data set's folder.
        folder: Where the files of the splits are put.
        train: Bytes for training.
        validation: Bytes for validation, which follow.
        test: Bytes for the test, which follow and are the last.
    """

    file: str
    folder: str
    train: int
    validation: int
    test: int

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by its name, relative to the data set's folder, in order."""
        return {f"{self.folder}/{split}.txt": getattr(self, split) for split in SPLITS}


@dataclass(frozen=True)
class Recipe:
    """A data set.

    Attributes:
        name: What ``seqsuite data fetch`` calls it.
        summary: What it is, in a line.
        task: The task that reads it.
        licence: Its licence, or what is known of it.
        homepage: Where its authors describe it.
        files: What to fetch.
        path: What to give as ``task.path``, relative to the data set's folder.
        stream: How it is streamed instead, up to a wanted amount.
        division: How its one file is divided into splits, where it does not come divided.
    """

    name: str
    summary: str
    task: str
    licence: str
    homepage: str
    files: tuple[RemoteFile, ...]
    path: str
    stream: Streamed | None = None
    division: Division | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether it is known what must arrive: the SHA-256 of every file."""
        return self.stream is None and all(file.sha256 for file in self.files)

    @property
    def size(self) -> int | None:
        """Bytes to fetch, if all are known."""
        if self.stream is not None:
            return self.stream.bytes
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None


def data_root() -> Path:
    """Return the folder that data sets are kept in: ``SEQSUITE_DATA``, else the user's data folder."""
    from platformdirs import user_data_path

    chosen = os.environ.get("SEQSUITE_DATA")
    return Path(chosen).expanduser() if chosen else user_data_path("seqsuite") / "data"


@cache
def recipes() -> dict[str, Recipe]:
    """Return all recipes, by name."""
    folder = files("seqsuite.tasks.prepare") / "recipes"
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda i: i.name)
    return {
        item.name.removesuffix(".toml"): parse_recipe(
            item.name.removesuffix(".toml"), tomllib.loads(item.read_text(encoding="utf-8"))
        )
        for item in found
    }


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        UserError: if there is none.
    """
    known = recipes()
    if name not in known:
        raise UserError(
            f"There is no data set {name!r}: `seqsuite data list` shows all.{did_you_mean(name, known)}"
        )
    return known[name]


def parse_recipe(name: str, content: dict[str, Any]) -> Recipe:
    """Return the recipe of a parsed TOML file; its keys are the attributes of :class:`Recipe`."""
    remote = tuple(RemoteFile(**file) for file in content.get("files", ()))
    stream = Streamed(**content["stream"]) if "stream" in content else None
    division = Division(**content["division"]) if "division" in content else None
    return Recipe(name=name, **{**content, "files": remote, "stream": stream, "division": division})

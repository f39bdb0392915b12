"""Spoken digits in the layout of Speech Commands and SC09: a folder a word, and the official lists."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import find, read_bytes, shorten
from seqsuite.wording import counted

log = logging.getLogger(__name__)

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""What is said, by class."""

LISTS: Mapping[Split, str] = {"validation": "validation_list.txt", "test": "testing_list.txt"}
"""The official lists, a file a line, such as ``seven/0a7c2a8d_nohash_0.wav``; all others are training's."""

_SPEAKER_ENDS = "_nohash_"


class DigitFile(NamedTuple):
    """A recording, and which digit is said in it."""

    path: Path
    digit: int

    @property
    def speaker(self) -> str:
        """Return who speaks, if the file's name says so."""
        before, found, _ = self.path.name.partition(_SPEAKER_ENDS)
        return before if found else ""


def check_layout(path: Path) -> Path:
    """Check that a folder has the lists and the digits, and return it, or the one folder in it that has.

    Raises:
        UserError: if it has not.
    """
    root = _root(path)
    for name in LISTS.values():
        if not (root / name).is_file():
            raise UserError(
                f"The folder {str(root)!r} has no {name}: the spoken digits of SC09 and Speech Commands come "
                "with their official lists, which say what is held out."
            )
    for word in DIGITS:
        if not (root / word).is_dir():
            raise UserError(f"The folder {str(root)!r} has no folder {word!r} with recordings of it.")
    return root


def has_lists(path: Path) -> bool:
    """Return whether a folder, or the only one in it, has the official lists."""
    return path.expanduser().is_dir() and all((_root(path) / name).is_file() for name in LISTS.values())


def find_digits(path: Path) -> dict[Split, list[DigitFile]]:
    """Return the recordings of digits below a folder, by the official lists; other words are left out.

    Args:
        path: The folder that has the lists, or one that has nothing but that folder.

    Raises:
        UserError: if a list, a digit or all of a split is missing, or a file is in two lists.
    """
    root = check_layout(path)
    listed: dict[Split, set[str]] = {split: _listed(root / name) for split, name in LISTS.items()}
    both = sorted(listed["validation"] & listed["test"])
    if both:
        raise UserError(f"{str(root)!r}: both lists name {shorten(both)}.")
    splits: dict[Split, list[DigitFile]] = {split: [] for split in SPLITS}
    found = set()
    for digit, word in enumerate(DIGITS):
        for file in find(root / word, audio.SUFFIXES, "audio", audio.NEEDS).files:
            name = f"{word}/{file.relative_to(root / word).as_posix()}"
            found.add(name)
            split: Split = next((home for home in LISTS if name in listed[home]), "train")
            splits[split].append(DigitFile(file, digit))
    missing = sorted((listed["validation"] | listed["test"]) - found)
    if missing:
        log.warning(
            "%s: %s in the lists not there: %s", root, counted(len(missing), "file"), shorten(missing)
        )
    for split, files in splits.items():
        if not files:
            where = f"no file of {LISTS[split]} is there" if split in LISTS else "the lists name every file"
            raise UserError(f"The folder {str(root)!r} has nothing for the {split} split: {where}.")
    _tell_shared_speakers(root, splits)
    return splits


def _root(path: Path) -> Path:
    """Return the folder with the lists: what was given, or the only one in it, as archives have it."""
    path = path.expanduser()
    if not path.is_dir():
        raise UserError(f"There is no folder at task.path={str(path)!r}.")
    name = LISTS["validation"]
    if not (path / name).is_file():
        inside = [item.parent for item in sorted(path.glob(f"*/{name}"))]
        if len(inside) == 1:
            return inside[0]
    return path


def _listed(file: Path) -> set[str]:
    """Return the digits' recordings that a list names, such as ``seven/0a7c2a8d_nohash_0.wav``."""
    lines = read_bytes(file).decode("utf-8", errors="replace").splitlines()
    names = {line.strip().replace("\\", "/") for line in lines}
    return {name for name in names if name.partition("/")[0] in DIGITS}


def _tell_shared_speakers(root: Path, splits: Mapping[Split, Sequence[DigitFile]]) -> None:
    """Say if a speaker is in two splits; the official lists have none."""
    homes: dict[str, Split] = {}
    shared = set()
    for split, files in splits.items():
        for file in files:
            if file.speaker and homes.setdefault(file.speaker, split) != split:
                shared.add(file.speaker)
    if shared:
        log.warning("%s: speakers are in two splits: %s", root, shorten(sorted(shared)))

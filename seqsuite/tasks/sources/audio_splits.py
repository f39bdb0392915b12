"""Which recordings are held out: by the official splits of YouTubeMix and MAESTRO, or by the suite's rule."""

import csv
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import find, find_files, read_bytes, shorten
from seqsuite.wording import counted

log = logging.getLogger(__name__)

SplitRule = Literal["auto", "youtubemix", "maestro", "own"]
"""``auto`` knows MAESTRO by its table and YouTubeMix by its files; ``own`` is the rule for any files."""

YOUTUBEMIX_CLIPS = 241
YOUTUBEMIX_TRAIN = 0.88
"""Share of YouTubeMix's clips, in the order of their numbers, that is training; half of the rest is
validation, and half test (Goel et al., 2022)."""

_CLIP = re.compile(r"out(\d+)\.wav", re.IGNORECASE)
_TABLE = re.compile(r"maestro-v\d+\.\d+\.\d+\.csv", re.IGNORECASE)
_FILE, _SPLIT = "audio_filename", "split"


def split_recordings(path: Path, rule: SplitRule) -> dict[Split, list[Path]] | None:
    """Return the files of each split by an official rule, or ``None`` where the suite's own rule holds.

    Args:
        path: A file or a folder.
        rule: Which.

    Raises:
        UserError: if the folder is not of the layout that was named, or lacks all of a split.
    """
    table = _table(path)
    if rule == "maestro" or (rule == "auto" and table is not None):
        if table is None:
            raise UserError(f"task.splits=maestro: {str(path)!r} has no table such as maestro-v3.0.0.csv.")
        return _complete(path, "maestro", _by_table(table))
    if rule == "own" or (rule == "auto" and not path.is_dir()):
        return None
    files = find_files(path, audio.SUFFIXES, "audio", audio.NEEDS)
    numbered = [_CLIP.fullmatch(file.name) for file in files]
    if rule == "auto" and not (len(files) == YOUTUBEMIX_CLIPS and all(numbered)):
        return None
    ordered = sorted(files, key=lambda file: (_number(file), file))
    return _complete(path, "youtubemix", _by_shares(ordered))


def _number(file: Path) -> int:
    """Return the last number in a file's name, by which clips are in the order of the video."""
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else 0


def _by_shares(files: Sequence[Path]) -> dict[Split, list[Path]]:
    """Cut files in order, as the paper's authors do: rounded down at 88 % and 94 %."""
    first = int(YOUTUBEMIX_TRAIN * len(files))
    second = int((YOUTUBEMIX_TRAIN + (1 - YOUTUBEMIX_TRAIN) / 2) * len(files))
    return {
        "train": list(files[:first]),
        "validation": list(files[first:second]),
        "test": list(files[second:]),
    }


def _table(path: Path) -> Path | None:
    """Return MAESTRO's table in a folder or in the one folder in it, as its archive has it."""
    if not path.is_dir():
        return None
    found = [
        file for file in sorted([*path.glob("*.csv"), *path.glob("*/*.csv")]) if _TABLE.fullmatch(file.name)
    ]
    return found[0] if len(found) == 1 else None


def _by_table(table: Path) -> dict[Split, list[Path]]:
    """Return the recordings that a table names, by its column ``split``; those not there are left out."""
    rows = list(csv.DictReader(read_bytes(table).decode("utf-8", errors="replace").splitlines()))
    if not rows or not {_FILE, _SPLIT} <= rows[0].keys():
        raise UserError(f"The table {str(table)!r} has not the columns {_FILE} and {_SPLIT} of MAESTRO's.")
    splits: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    missing = []
    for row in rows:
        split = next((split for split in SPLITS if split == row[_SPLIT]), None)
        if split is None:
            raise UserError(
                f"The table {str(table)!r} has a split {row[_SPLIT]!r}: known are {', '.join(SPLITS)}."
            )
        file = table.parent / row[_FILE]
        if file.is_file():
            splits[split].append(file)
        else:
            missing.append(row[_FILE])
    if missing:
        log.warning(
            "%s: %s in the table not there: %s", table, counted(len(missing), "file"), shorten(missing)
        )
    seen = {file.resolve() for files in splits.values() for file in files}
    others = [
        file
        for file in find(table.parent, audio.SUFFIXES, "audio", audio.NEEDS).files
        if file.resolve() not in seen
    ]
    if others:
        log.warning("%s: %s not in the table, and left out", table, counted(len(others), "file"))
    return {split: sorted(files) for split, files in splits.items()}


def _complete(path: Path, rule: str, splits: dict[Split, list[Path]]) -> dict[Split, list[Path]]:
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise UserError(
            f"By the split of {rule} nothing of {str(path)!r} is left for {' and '.join(empty)}: give all of "
            "the set, or task.splits=own."
        )
    return splits

"""The user's own data: one file, or a folder of files."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from seqsuite.errors import UserError
from seqsuite.wording import counted

log = logging.getLogger(__name__)

OnBadFile = Literal["refuse", "skip"]
"""What to do about files that cannot be read: refuse them all in one sentence, or go on without them."""

_ARCHIVE_FOLDERS = ("__MACOSX",)
"""Folders that an archiver adds and no file manager means."""

_NAMED = 3  # files to name where there are many

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What a path means.

    Attributes:
        files: The files to read, sorted.
        left_out: Other files that the user sees beside them, sorted. Hidden files are not among them.
        needs: What it would take to read some of those, such as ``ffmpeg``, by ending.
    """

    files: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Return one line such as ``12 files read, 3 left out: 2 .png, 1 without suffix``."""
        left_out = f", {len(self.left_out)} left out: {self.kinds()}" if self.left_out else ""
        return f"{counted(len(self.files), 'file')} read{left_out}"

    def kinds(self) -> str:
        """Return what is left out, by ending: ``2 .png, 1 .m4a (needs ffmpeg)``."""
        counts = Counter(path.suffix.lower() or "without suffix" for path in self.left_out)
        told = {kind: f" (needs {self.needs[kind]})" for kind in counts if kind in self.needs}
        return ", ".join(f"{count} {kind}{told.get(kind, '')}" for kind, count in counts.most_common())


def find(path: Path, suffixes: Sequence[str], kind: str, needs: Mapping[str, str] | None = None) -> Found:
    """Return the files that ``task.path`` means: itself, or those below a folder, and what is left out.

    Hidden files and folders below ``path`` are ignored: names that begin with a dot, such as ``._x`` and
    ``.ipynb_checkpoints``, and ``__MACOSX``. Links are followed; a folder or a file that is reached twice, as
    in a loop of links, counts once.

    Args:
        path: A file, taken whatever its name, or a folder that is searched to any depth.
        suffixes: Lower-case endings that count inside a folder, such as ``".fa.gz"``.
        kind: What the files are, for the messages, such as ``"FASTA"``.
        needs: What must be installed to read files of further endings, for the messages.

    Raises:
        UserError: if the path does not exist or is neither a file nor a folder, a file cannot be read, or the
            folder has no such files.
    """
    path, needs = path.expanduser(), needs or {}
    try:
        found = replace(_find(path, tuple(suffixes)), needs=needs)
    except OSError as error:
        culprit = f" (at {error.filename!r})" if error.filename not in (None, str(path)) else ""
        raise UserError(f"task.path={str(path)!r} cannot be read: {reason_of(error)}{culprit}.") from error
    if not found.files:
        plain = dict.fromkeys(suffix for suffix in suffixes if suffix.count(".") == 1)
        packed = " (or compressed)" if len(plain) < len(set(suffixes)) else ""
        lacking = any(file.suffix.lower() in needs for file in found.left_out)
        others = f" Left out: {found.kinds()}." if lacking else ""
        raise UserError(
            f"The folder task.path={str(path)!r} has no {kind} files: they should end in "
            f"{', '.join(plain)}{packed}.{others}"
        )
    for file in found.files:
        if not os.access(file, os.R_OK):
            raise UserError(f"The file {str(file)!r} cannot be read: check its permissions.")
    return found


def find_files(
    path: Path, suffixes: Sequence[str], kind: str, needs: Mapping[str, str] | None = None
) -> list[Path]:
    """Return the files of :func:`find`; if others are left out, the log says how many and of what kinds.

    Raises:
        UserError: as :func:`find`.
    """
    found = find(path, suffixes, kind, needs)
    if found.left_out:
        log.info("%s: %s", path, found.summary())
    return list(found.files)


def read_files(files: Sequence[Path], read: Callable[[Path], T], on_bad_file: OnBadFile) -> dict[Path, T]:
    """Return what ``read`` makes of each file, in order.

    Args:
        files: The files.
        read: A reader that raises :class:`~seqsuite.errors.UserError` for a file that it cannot use.
        on_bad_file: ``"refuse"`` raises after all files were tried, ``"skip"`` goes on without the bad ones;
            either names them.

    Raises:
        UserError: if a file is bad and ``on_bad_file`` is ``"refuse"``, or if all are bad.
    """
    contents: dict[Path, T] = {}
    bad: list[UserError] = []
    for file in files:
        try:
            contents[file] = read(file)
        except UserError as error:
            bad.append(error)
    if not bad:
        return contents
    reasons = " ".join(str(error) for error in bad)
    if len(files) == 1:
        raise bad[0]
    refused = f"{len(bad)} of {len(files)} files cannot be used"
    if on_bad_file == "refuse":
        advice = "task.on_bad_file=skip goes on without them"
        raise UserError(f"{refused}; {advice}: {reasons}")
    if not contents:
        raise UserError(f"None of {len(files)} files can be used: {reasons}")
    log.warning("%s and are left out: %s", refused, reasons)
    return contents


def read_bytes(file: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        UserError: if the system refuses to read it, or it is not a regular file.
    """
    try:
        require_regular(file)
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"The file {str(file)!r} cannot be read: {reason_of(error)}.") from error


def require_regular(file: Path) -> None:
    """Check that opening ``file`` will not wait for ever, as a named pipe would.

    Raises:
        UserError: if it is a folder, a pipe or a device.
        OSError: if it is not there.
    """
    if file.stat() and not file.is_file():
        kind = "a folder" if file.is_dir() else "a pipe or a device"
        raise UserError(f"The file {str(file)!r} cannot be read: it is {kind}, not a file.")


def reason_of(error: Exception) -> str:
    """Return what a system or a library says, as part of a sentence: one line, without a full stop."""
    text = getattr(error, "strerror", None) or str(error)
    return next(iter(text.splitlines()), "").rstrip(" .:") or "it is damaged"


def shorten(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more


def _find(path: Path, suffixes: tuple[str, ...]) -> Found:
    if not path.is_dir():
        if path.is_file():
            return Found((path,))
        if path.exists():
            raise UserError(f"task.path={str(path)!r} is neither a file nor a folder.")
        raise UserError(f"There is no file or folder at task.path={str(path)!r}.")
    files, left_out = [], []
    seen: set[tuple[int, int]] = set()
    for file in _visible(path):
        if not (file.name.lower().endswith(suffixes) and file.is_file()):
            left_out.append(file)
            continue
        status = file.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            files.append(file)
    return Found(tuple(sorted(files)), tuple(sorted(left_out)))


def _visible(folder: Path) -> Iterator[Path]:
    """Yield all files below ``folder`` that a user sees, each real folder's once."""

    def fail(error: OSError) -> None:
        raise error

    visited: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield from (Path(parent, name) for name in sorted(names) if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _ARCHIVE_FOLDERS

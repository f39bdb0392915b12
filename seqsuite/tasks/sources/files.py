"""The user's own data: one file, or a folder of files."""

import os
from collections.abc import Sequence
from pathlib import Path

from seqsuite.errors import UserError


def find_files(path: Path, suffixes: Sequence[str], kind: str) -> list[Path]:
    """Return the readable files that ``task.path`` means: itself, or those below a folder, sorted.

    Args:
        path: A file, taken whatever its name, or a folder that is searched to any depth.
        suffixes: Lower-case endings that count inside a folder, such as ``".fa.gz"``.
        kind: What the files are, for the messages, such as ``"FASTA"``.

    Raises:
        UserError: if the path does not exist, a file cannot be read, or the folder has no such files.
    """
    path = path.expanduser()
    try:
        files = _files_at(path, tuple(suffixes))
    except OSError as error:
        raise UserError(f"task.path={str(path)!r} cannot be read: {error.strerror}.") from error
    if files is None:
        raise UserError(f"There is no file or folder at task.path={str(path)!r}.")
    if not files:
        endings = ", ".join(suffixes)
        raise UserError(
            f"The folder task.path={str(path)!r} has no {kind} files: they should end in {endings}."
        )
    for file in files:
        if not os.access(file, os.R_OK):
            raise UserError(f"The file {str(file)!r} cannot be read: check its permissions.")
    return files


def _files_at(path: Path, suffixes: tuple[str, ...]) -> list[Path] | None:
    if path.is_dir():
        return sorted(f for f in path.rglob("*") if f.name.lower().endswith(suffixes) and f.is_file())
    return [path] if path.is_file() else None


def read_bytes(file: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        UserError: if the system refuses to read it.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"The file {str(file)!r} cannot be read: {error.strerror}.") from error

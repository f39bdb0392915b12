"""A folder of data is whole if its manifest is there: it is written last, in one step."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError

NAME = "manifest.json"

_BLOCK = 1 << 20


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, read in blocks, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, files: Iterable[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Declare ``folder`` whole: record the size and SHA-256 of its ``files``, and ``facts``.

    The files reach the disk before the manifest does.
    """
    listed = {}
    for name in sorted(files):
        path = folder / name
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        listed[name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    manifest = {**facts, "files": listed}
    replace_text(folder / NAME, json.dumps(manifest, indent=1))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a whole folder, or ``None`` if there is none or a file has another size."""
    try:
        manifest: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        sizes = {name: facts["size"] for name, facts in manifest["files"].items()}
        if all((folder / name).stat().st_size == size for name, size in sizes.items()):
            return manifest
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def damaged_files(folder: Path) -> list[str]:
    """Return the files of a folder that are missing or no longer what its manifest says, all bytes read.

    Raises:
        UserError: if the folder has no manifest.
    """
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        listed = {name: (facts["size"], facts["sha256"]) for name, facts in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The folder {str(folder)!r} has no manifest: it was never finished.") from error
    return [name for name, facts in listed.items() if not _is(folder / name, *facts)]


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, path)


def _is(path: Path, size: int, digest: str) -> bool:
    return path.is_file() and path.stat().st_size == size and sha256(path) == digest

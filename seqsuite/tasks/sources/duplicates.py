"""The same content twice: a file that was copied must not be in training and in test."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.sources.files import shorten

Content: TypeAlias = "bytes | npt.NDArray[np.generic]"

_BLOCK = 1 << 22


def content_hash(content: Content) -> str:
    """Return a hash of bytes or of an array (L,), which may be memory-mapped: it is read in blocks."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(content), _BLOCK):
        block = content[start : start + _BLOCK]
        digest.update(block if isinstance(block, bytes) else np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()


def duplicates(contents: Mapping[str, Content]) -> list[list[str]]:
    """Return the names of contents that are equal, a group each, in order; empty contents are none."""
    groups: dict[str, list[str]] = {}
    for name, content in contents.items():
        if len(content):
            groups.setdefault(content_hash(content), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def without_duplicates(contents: Mapping[str, Content]) -> dict[str, Content]:
    """Return the contents, of equal ones only the first."""
    dropped = {name for group in duplicates(contents) for name in group[1:]}
    return {name: content for name, content in contents.items() if name not in dropped}


def refuse_shared_content(splits: Mapping[str, Mapping[str, Content]], path: Path | None = None) -> None:
    """Check that no content is in two splits.

    Args:
        splits: By split, the contents by name (of file or record).
        path: What the user gave, for the message.

    Raises:
        UserError: naming the contents that are in more than one split.
    """
    homes: dict[str, tuple[str, str]] = {}
    shared = []
    for split, contents in splits.items():
        for name, content in contents.items():
            if not len(content):
                continue
            home, first = homes.setdefault(content_hash(content), (split, name))
            if home != split:
                shared.append(f"{first} ({home}) is {name} ({split})")
    if shared:
        where = f"task.path={str(path)!r} holds" if path is not None else "The data holds"
        raise UserError(f"{where} the same content in two splits: {shorten(shared)}; remove the copies.")

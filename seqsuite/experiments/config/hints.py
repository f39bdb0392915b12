"""What a wrong key may have meant."""

import re
from collections.abc import Iterable, Sequence

from seqsuite.registry import did_you_mean

_RANGE = re.compile(r"([0-9]{1,9})(?:-|:|\.\.\.)([0-9]{1,9})")
"""As it is written elsewhere."""


def nearest_key(key: str, section: Sequence[str], everywhere: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the key that a wrong one most likely stands for, or an empty string.

    Args:
        key: The wrong key, such as ``train.lr`` or ``steps``.
        section: The keys that are possible in its place.
        everywhere: All keys that can be set: one of them with the same last word wins over one that is only
            spelt alike, and so does one whose initials it is (``lr`` for ``learning_rate``).
    """
    wrong = key.rpartition(".")[2]
    for means in (_same, _initials):
        for known in (section, everywhere):
            found = [name for name in known if name != key and means(wrong, name.rpartition(".")[2])]
            if found:
                return f" Did you mean {found[0]!r}?"
    return did_you_mean(key, section)


def range_meant(key: str, value: object) -> str:
    """Return how the range is written that a value was meant to be, such as ``0-2``; else an empty string."""
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    return f" A range is written {key}={found[1]}..{found[2]}." if found else ""


def _same(wrong: str, known: str) -> bool:
    return wrong == known


def _initials(wrong: str, known: str) -> bool:
    return "_" in known and wrong == "".join(word[:1] for word in known.split("_"))

"""The order in which people expect names: by the numbers in them."""

import re

_NUMBER = re.compile(r"((?:(?:^|(?<==))-)?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")

Key = tuple[tuple[tuple[str, float], ...], str]


def natural(text: str) -> Key:
    """Return what to sort by: numbers by size, also within words, and before words.

    ``length_64`` is before ``length_512``, ``seqlen=256`` before ``seqlen=1024``, ``1e-3`` before ``0.1``.
    """
    parts = [*_NUMBER.split(text), ""]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple((word, float(number or 0)) for word, number in pairs), text

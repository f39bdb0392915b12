"""The grammar of the command line's arguments: ``key=value``, lists of values, and the grid they span."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

from seqsuite.errors import UserError

_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_NULLS = ("none", "null")
_MAX_RANGE = 10_000

Overrides = dict[str, Any]
"""One cell's settings: dotted key → value, as text, ``None`` or a list."""


def expand_grid(arguments: Sequence[str]) -> list[Overrides]:
    """Return the cells that ``key=value`` arguments span: the product over every key's values.

    A value may be several, separated by commas (``mamba,s4``), a range with both ends (``0..4``), one list
    (``[1,2]``), quoted text that is taken as it stands (``"a,b"``), or ``none``. The last key varies fastest.

    Raises:
        UserError: if an argument is no ``key=value``, a key is given twice or a range is empty.
    """
    values: dict[str, list[Any]] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise UserError(f"{argument!r} is not a setting: write key=value, such as model=mamba.")
        if key in values:
            raise UserError(f"{key!r} is given twice: write all its values once, as in {key}=A,B.")
        values[key] = _parse_values(key, text)
    return [dict(zip(values, cell, strict=True)) for cell in itertools.product(*values.values())]


def _parse_values(key: str, text: str) -> list[Any]:
    parts = _split(text)
    if not all(parts):
        raise UserError(f"{key}={text} has an empty value: write {key}=VALUE, or {key}=none for no value.")
    return [value for part in parts for value in _parse_value(key, part)]


def _parse_value(key: str, part: str) -> list[Any]:
    """Return the values that one comma-separated part stands for."""
    if part[0] in "'\"":
        if len(part) < 2 or part[-1] != part[0]:
            raise UserError(f"{key}={part} has a quotation mark that is not closed.")
        return [part[1:-1]]
    if part[0] == "[":
        if part[-1] != "]":
            raise UserError(f"{key}={part} has a bracket that is not closed: write a list as [1,2].")
        inner = part[1:-1]
        return [[value for item in _split(inner) for value in _parse_value(key, item)] if inner else []]
    if match := _RANGE.fullmatch(part):
        start, end = int(match[1]), int(match[2])
        if not 0 <= end - start < _MAX_RANGE:
            raise UserError(f"{key}={part} is no range: write LOW..HIGH, with at most {_MAX_RANGE} values.")
        return [str(value) for value in range(start, end + 1)]
    return [None if part.lower() in _NULLS else part]


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside quotation marks and brackets."""
    parts, quote, depth = [""], "", 0
    for character in text:
        if character == "," and not quote and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and len(parts[-1]) == 1:
            quote = character
        else:
            depth += (character == "[") - (character == "]")
    return parts

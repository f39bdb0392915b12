"""The grammar of the command line's arguments: ``key=value``, lists of values, and the grid they span."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.config.values import shown

_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_RANGE = re.compile(r"(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})")
_NULLS = ("none", "null")
_MAX_CELLS = 10_000
_MAX_DEPTH = 20

Overrides = dict[str, Any]
"""One cell's settings: dotted key → value, as text, ``None`` or a list."""


def expand_grid(arguments: Sequence[str], *, zipped: bool = False) -> list[Overrides]:
    """Return the cells that ``key=value`` arguments span: the product over every key's values.

    A value may be several, separated by commas (``mamba,s4``), a range with both ends (``0..4``), one list
    (``[1,2]``), quoted text that is taken as it stands (``"a,b"``), or ``none``. The last key varies fastest.

    Args:
        arguments: The arguments.
        zipped: Whether the n-th values of all keys that have several belong together, in place of the
            product.

    Raises:
        UserError: if an argument is no ``key=value``, a key is given twice, a range is empty, or the grid is
            too large.
    """
    return span(parse_arguments(arguments), zipped=zipped)


def parse_arguments(arguments: Sequence[str]) -> dict[str, list[Any]]:
    """Return each key's values.

    Raises:
        UserError: if an argument is no ``key=value``, a key is given twice or a range is empty.
    """
    values: dict[str, list[Any]] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"{shown(argument)!r} is not a setting: write key=value, such as model=mamba.")
        check_key(key, argument)
        if key in values:
            raise UserError(f"{key!r} is given twice: write all its values once, as in {key}=A,B.")
        values[key] = parse_values(key, text)
    return values


def check_key(key: str, setting: str) -> None:
    """Check that the key of a setting is words with dots between.

    Raises:
        UserError: if it is not.
    """
    if not _KEY.fullmatch(key):
        raise UserError(f"{shown(setting)!r} is not a setting: write key=value, such as model=mamba.")


def span(values: Mapping[str, Sequence[Any]], *, zipped: bool = False) -> list[Overrides]:
    """Return the cells that several values for each key make: their product, or pairs if ``zipped``.

    Raises:
        UserError: if the numbers of values do not fit, or there are too many cells.
    """
    if zipped:
        return _pairs(values)
    count = math.prod(len(several) for several in values.values())
    if count > _MAX_CELLS:
        raise UserError(f"The grid has {count} cells, more than {_MAX_CELLS}: give fewer values.")
    return [dict(zip(values, cell, strict=True)) for cell in itertools.product(*values.values())]


def _pairs(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    counts = {key: len(several) for key, several in values.items() if len(several) > 1}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{key} has {count}" for key, count in counts.items())
        raise UserError(f"--zip pairs values one by one, but {found}: give each as many, or a single one.")
    size = max(counts.values(), default=1)
    return [
        {key: several[n if len(several) > 1 else 0] for key, several in values.items()} for n in range(size)
    ]


def parse_values(key: str, text: str) -> list[Any]:
    """Return the values that a key's text stands for.

    Raises:
        UserError: if one is empty, or a quotation mark or a bracket is not closed.
    """
    parts = _split(text)
    if not all(parts):
        raise UserError(
            f"{key}={shown(text)} has an empty value: write {key}=VALUE, or {key}=none for no value."
        )
    return [value for part in parts for value in _parse_value(key, part)]


def parse_null(text: str) -> str | None:
    """Return a text as it is, or ``None`` if it stands for no value."""
    return None if text.lower() in _NULLS else text


def _parse_value(key: str, part: str, depth: int = 0) -> list[Any]:
    """Return the values that one comma-separated part stands for."""
    if part[0] in "'\"":
        if len(part) < 2 or part[-1] != part[0]:
            raise UserError(f"{key}={shown(part)} has a quotation mark that is not closed.")
        return [part[1:-1]]
    if part[0] == "[":
        return [_parse_list(key, part, depth)]
    if match := _RANGE.fullmatch(part):
        start, end = int(match[1]), int(match[2])
        if not 0 <= end - start < _MAX_CELLS:
            raise UserError(
                f"{key}={shown(part)} is no range: write LOW..HIGH, with at most {_MAX_CELLS} values."
            )
        return [str(value) for value in range(start, end + 1)]
    return [parse_null(part)]


def _parse_list(key: str, part: str, depth: int) -> list[Any]:
    if part[-1] != "]" or len(part) < 2:
        raise UserError(f"{key}={shown(part)} has a bracket that is not closed: write a list as [1,2].")
    if depth == _MAX_DEPTH:
        raise UserError(f"{key}= has lists in lists, more than {_MAX_DEPTH} deep.")
    inner = part[1:-1]
    items = _split(inner) if inner else []
    if not all(items):
        raise UserError(f"{key}={shown(part)} has an empty item: write a list as [1,2].")
    return [value for item in items for value in _parse_value(key, item, depth + 1)]


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside quotation marks and brackets."""
    parts: list[str] = []
    start, quote, depth = 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and position == start:
            quote = character
        elif character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        else:
            depth += (character == "[") - (character == "]")
    return [*parts, text[start:]]

"""Values of settings: what they mean where a type leaves two readings, and how they are shown."""

import math
import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_SHOWN = 200  # characters of a value in a message
_EXPONENT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE]\+?[0-9]{1,3}")


def read_as(annotation: Any, value: Any) -> Any:
    """Return a value as its type reads it; the type still checks the result.

    Whole numbers may be written with an exponent (``1e3``), and ``none`` is a name where the type has that
    name and has no place for no value.

    Args:
        annotation: The type, such as ``int`` or ``tuple[int, ...]``.
        value: Text, ``None``, a number, or a list of them.
    """
    if isinstance(value, list):
        return [read_as(annotation, item) for item in value]
    parts = list(_parts(annotation))
    if value is None and type(None) not in parts and "none" in parts:
        return "none"
    if (
        isinstance(value, str)
        and int in parts
        and not {str, float} & set(parts)
        and _EXPONENT.fullmatch(value)
    ):
        number = float(value)
        if math.isfinite(number) and number.is_integer():
            return int(number)
    return value


def holds_numbers(annotation: Any) -> bool:
    """Return whether a type is made of numbers, such as ``tuple[int, ...] | None``."""
    return bool({int, float} & {part for part in _parts(annotation) if isinstance(part, type)})


def _parts(annotation: Any) -> list[Any]:
    """Return the plain types and the literal values that a type is made of."""
    origin = get_origin(annotation)
    if origin is Literal:
        return list(get_args(annotation))
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, UnionType, tuple, list):
        return [part for argument in get_args(annotation) for part in _parts(argument)]
    return [annotation]


def shown(value: Any) -> str:
    """Return a value as it is written in a setting, shortened if it is very long."""
    if isinstance(value, list | tuple):
        text = f"[{','.join(shown(item) for item in value)}]"
    else:
        text = "none" if value is None else str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

"""How docstrings, keys and tables are written on generated pages."""

import inspect
import re
from collections.abc import Iterable

from seqsuite.experiments.config.keys import Key
from seqsuite.report import Column
from seqsuite.report.markup import markdown_table

_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`+(?:[^`<>]*<)?~?\.?([^`<>]+)>?`+")


def prose(value: object) -> str:
    """Return the beginning of a docstring, before its arguments, as Markdown."""
    text = inspect.getdoc(value) or ""
    before = re.split(r"\n(?:Args|Attributes|Raises|Returns):", text)[0]
    return in_markdown(before).strip()


def in_markdown(text: str) -> str:
    """Return a docstring's text with the last name of what each of Sphinx's roles refers to, as code."""
    return _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text).replace("``", "`")


def key_table(keys: Iterable[Key]) -> str:
    """Return keys with what they take, their defaults and meanings."""
    rows = [(f"`{key.name}`", *map(_line, (key.type, key.default, key.description))) for key in keys]
    return table(("key", "takes", "default", "meaning"), rows)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of text."""
    return markdown_table([Column(head, head) for head in heads], [list(row) for row in rows]).rstrip()


def _line(text: str) -> str:
    return " ".join(in_markdown(text).split())

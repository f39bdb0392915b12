"""Reports for programs: whole numbers, with nothing left out."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from seqsuite.report.model import Column, Report, Row, Section

_OF_SECTIONS = ("kind", "title", "columns", "rows", "notes")


def as_csv(report: Report) -> str:
    """Return a line for each row of any section, under the union of their columns and the machine's."""
    rows = [
        {"section": section.kind, **section.about, **row}
        for section in report.sections
        for row in section.rows
    ]
    machine = {f"machine_{key.replace(' ', '_')}": value for key, value in report.machine.items()}
    keys = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, [*keys, *machine], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(row) | machine for row in rows)
    return out.getvalue()


def as_json(report: Report) -> str:
    """Return all that the report holds; a number that is not finite is ``null``."""
    sections = [
        {
            "kind": section.kind,
            "title": section.title,
            "columns": [_described(column) for column in section.columns],
            **section.about,
            "rows": section.rows,
            "notes": section.notes,
        }
        for section in report.sections
    ]
    content = {
        "command": report.command,
        "machine": report.machine,
        "sections": sections,
        "notes": report.notes,
    }
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def from_json(content: Mapping[str, Any]) -> Report:
    """Return the report that :func:`as_json` wrote, of its parsed text; which cells stood out is not kept.

    Raises:
        KeyError, TypeError, AttributeError: if something is missing, or is not what it should be.
    """
    return Report(
        content["command"],
        dict(content["machine"]),
        [_section(section) for section in content["sections"]],
        list(content["notes"]),
    )


def _section(content: Mapping[str, Any]) -> Section:
    about = {key: value for key, value in content.items() if key not in _OF_SECTIONS}
    columns = tuple(Column(**column) for column in content["columns"])
    rows = [dict(row) for row in content["rows"]]
    return Section(content["kind"], content["title"], columns, rows, list(content["notes"]), about)


def _described(column: Column) -> dict[str, Any]:
    """Return what of a column is not as usual, under the names of its attributes."""
    return {
        attribute.name: value
        for attribute in fields(column)
        if (value := getattr(column, attribute.name)) != attribute.default
    }


def _flat(row: Mapping[str, Any]) -> Row:
    """Return the row with lists as words between spaces and tables as ``key=value``."""
    return {key: _word(value) for key, value in row.items()}


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_word(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(str(_word(item)) for item in value)
    return value


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What a benchmark found, as text for a terminal, Markdown, CSV or JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPED_WIDTH = 200
_GAP = 2
_TEXT_WIDTH = 20

Value = Any
Row = dict[str, Value]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: its name in rows, CSV and JSON, with the unit of the raw number.
        title: its heading for people.
        kind: how a value is shown; one of :func:`show`'s.
        optional: whether it is left out where a terminal is too narrow for all.
    """

    key: str
    title: str
    kind: str = "text"
    optional: bool = False


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        kind: what it is, for programs: "check", "times", "growth", ...
        title: what it is, for people.
        columns: its columns.
        rows: its rows by the columns' keys, raw numbers in base units (seconds, bytes).
        notes: sentences below it.
        about: what all rows have in common, such as the shape.
    """

    kind: str
    title: str
    columns: tuple[Column, ...]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    about: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All that one command found, and on which machine."""

    command: str
    machine: dict[str, str]
    sections: list[Section]


def show(value: Value, kind: str) -> str:
    """Return a raw value for people; a dash for one that is missing.

    Kinds: ``text``, ``count``, ``ratio`` (times ours), ``share`` (of 1), ``seconds``, ``range`` (two of
    seconds), ``bytes``, ``rate`` (a second), ``error`` (relative), ``number``.
    """
    if value is None or value == "":
        return "" if kind == "text" else "–"
    if kind == "text":
        return str(value)
    return {
        "count": lambda x: f"{x:,}".replace(",", " "),
        "ratio": lambda x: f"{digits(x)} ×",
        "share": lambda x: f"{100 * x:.0f} %",
        "seconds": lambda x: scaled(x, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))),
        "range": lambda x: f"{show(x[0], 'seconds')} – {show(x[1], 'seconds')}",
        "bytes": lambda x: scaled(x, ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))),
        "rate": lambda x: scaled(x, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))).rstrip(),
        "error": lambda x: f"{x:.0e}",
        "number": lambda x: f"{x:.2f}",
    }[kind](value)


def digits(x: float) -> str:
    """Return three significant digits, without an exponent."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    x = float(f"{x:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(x))))
    return f"{x:.{min(decimals, 4)}f}"


def scaled(x: float, units: Sequence[tuple[float, str]]) -> str:
    """Return three digits of ``x`` in the largest unit that leaves at least 1, else in the smallest."""
    size, unit = next((unit for unit in units if abs(x) >= unit[0] * 0.9995), units[-1])
    return f"{digits(x / size)} {unit}"


def write(report: Report, style: str, file: TextIO) -> None:
    """Write a report as ``table``, ``md``, ``csv`` or ``json``; a table fits the terminal it goes to."""
    if style == "table" and file.isatty():
        _print(report, Console(file=file, highlight=False))
    elif style == "table":
        buffer = io.StringIO()
        _print(report, Console(file=buffer, highlight=False, color_system=None, width=_PIPED_WIDTH))
        file.writelines(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())
    else:
        file.write({"md": _markdown, "csv": _csv, "json": _json}[style](report))


def _print(report: Report, console: Console) -> None:
    console.print(Text(_command_and_machine(report)))
    for section in report.sections:
        console.print()
        console.print(Text(section.title, style="bold"))
        columns = section.columns
        if _width(section) > console.width:
            columns = tuple(column for column in columns if not column.optional)
        console.print(_table(section, columns, console))
        for note in section.notes:
            console.print(Text(note))


def _table(section: Section, columns: Sequence[Column], console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    if not console.is_terminal:
        table.box, table.padding = None, (0, 2, 0, 0)
    for column in columns:
        if column.kind == "text":
            table.add_column(column.title, overflow="fold")
        else:
            table.add_column(column.title, justify="right", no_wrap=True)
    for row in section.rows:
        table.add_row(*_shown(columns, row))
    return table


def _width(section: Section) -> int:
    """Return how wide a terminal must be for all columns, where text may be wrapped but not much."""
    total = 0
    for column in section.columns:
        cells = (show(row.get(column.key), column.kind) for row in section.rows)
        longest = max(len(text) for text in [column.title, *cells])
        total += _GAP + (min(longest, _TEXT_WIDTH) if column.kind == "text" else longest)
    return total


def _markdown(report: Report) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    text = _command_and_machine(report) + "\n"
    for section in report.sections:
        text += f"\n### {section.title}\n\n" + line([column.title for column in section.columns])
        text += line(["---" if column.kind == "text" else "---:" for column in section.columns])
        text += "".join(line(_shown(section.columns, row)) for row in section.rows)
        text += "".join(f"\n{note}\n" for note in section.notes)
    return text


def _csv(report: Report) -> str:
    """One line a row of any section, with the union of their columns; the machine is in columns too."""
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


def _json(report: Report) -> str:
    sections = [
        {
            "kind": section.kind,
            "title": section.title,
            **section.about,
            "rows": section.rows,
            "notes": section.notes,
        }
        for section in report.sections
    ]
    content = {"command": report.command, "machine": report.machine, "sections": sections}
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def _command_and_machine(report: Report) -> str:
    machine = "; ".join(f"{key}: {value}" for key, value in report.machine.items())
    return f"{report.command}\n{machine}"


def _shown(columns: Sequence[Column], row: Row) -> list[str]:
    return [show(row.get(column.key), column.kind) for column in columns]


def _flat(row: Mapping[str, Value]) -> Row:
    return {
        key: " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        for key, value in row.items()
    }


def _finite(value: Value) -> Value:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

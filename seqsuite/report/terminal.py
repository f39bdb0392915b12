"""The one printer for terminals: tables that fit, and plain lines that are never cut in a pipe."""

import io
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqsuite.report.model import Column, Report, Section

_UNLIMITED = 100_000
_GAP = 2
_TEXT_WIDTH = 16
"""Words are wrapped, but to no less than this."""


def write_table(report: Report, file: TextIO) -> None:
    """Write to a terminal in its width and colours, or plainly to a file or pipe: a row is a line there."""
    if file.isatty():
        _print(report, Console(file=file, highlight=False))
        return
    buffer = io.StringIO()
    _print(report, Console(file=buffer, highlight=False, color_system=None, width=_UNLIMITED))
    file.writelines(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _print(report: Report, console: Console) -> None:
    if report.machine:
        console.print(Text(report.command))
        console.print(Text("; ".join(f"{key}: {value}" for key, value in report.machine.items())))
        console.print()
    for place, section in enumerate(report.sections):
        if place:
            console.print()
        console.print(Text(section.title, style="bold"))
        columns = _fitting(section, console.width)
        if columns:
            console.print(_table(section, columns, console))
        else:
            _print_stacked(section, console)
        for note in section.notes:
            console.print(Text(note))
    if report.notes:
        console.print()
    for note in report.notes:
        console.print(Text(note))


def _fitting(section: Section, width: int) -> list[Column]:
    """Return the columns that fit side by side, or none if not even those that must be there do."""
    columns = list(section.columns)
    while _width(section, columns) > width:
        optional = [column for column in columns if column.optional]
        if not optional:
            return []
        columns.remove(optional[-1])
    return columns


def _width(section: Section, columns: Sequence[Column]) -> int:
    """Return how wide a terminal must be, where text may be wrapped but not much."""
    total = 0
    for column in columns:
        longest = max(cell_len(text) for text in [column.title, *map(column.show, section.rows)])
        total += _GAP + (min(longest, _TEXT_WIDTH) if column.is_text else longest)
    return total - _GAP


def _table(section: Section, columns: Sequence[Column], console: Console) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    if not console.is_terminal:
        table.box, table.padding = None, (0, 2, 0, 0)
    for column in columns:
        if column.is_text:
            table.add_column(Text(column.title), overflow="fold", min_width=min(8, len(column.title)))
        else:
            table.add_column(Text(column.title), justify="right", no_wrap=True)
    for number, row in enumerate(section.rows):
        styles = ("bold" if (number, column.key) in section.bold else "" for column in columns)
        table.add_row(
            *(Text(column.show(row), style=style) for column, style in zip(columns, styles, strict=True))
        )
    return table


def _print_stacked(section: Section, console: Console) -> None:
    """Print a table that is too wide for the terminal as one block a row."""
    first, *others = section.columns
    title_width = max((cell_len(f"  {column.title}") for column in others), default=0)
    for row in section.rows:
        console.print(Text(first.show(row), style="bold"))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(min_width=title_width, no_wrap=True)
        grid.add_column(overflow="fold")
        for column in others:
            if row.get(column.key) not in (None, ""):
                grid.add_row(Text(f"  {column.title}"), Text(column.show(row)))
        console.print(grid)

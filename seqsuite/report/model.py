"""What a report is made of: sections of rows, whose values are raw numbers."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from seqsuite.report.format import show

Value = Any
Row = dict[str, Value]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in rows, CSV and JSON, with the unit of the raw number.
        title: Its heading for people.
        kind: How a value is shown; one of :func:`~seqsuite.report.format.show`'s.
        digits: Digits after the point, for the kind ``number``.
        spread: Key of the standard deviation to show behind the value, for the kind ``number``.
        low: Key of the lower end of its interval, shown with ``high`` where no ``spread`` is named.
        high: Key of the upper end.
        optional: Whether a table that is too wide for a terminal may do without; the last such column goes
            first.
    """

    key: str
    title: str
    kind: str = "text"
    digits: int = 2
    spread: str | None = None
    low: str | None = None
    high: str | None = None
    optional: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it holds words, which may be wrapped and stand at the left, rather than numbers."""
        return self.kind == "text"

    def show(self, row: Mapping[str, Value]) -> str:
        """Return the row's value for people."""
        text = self._number(row, self.key)
        if self.spread:
            return text if row.get(self.spread) is None else f"{text} ± {self._number(row, self.spread)}"
        if self.low and self.high and row.get(self.low) is not None:
            return f"{text} ({self._number(row, self.low)} to {self._number(row, self.high)})"
        return text

    def _number(self, row: Mapping[str, Value], key: str) -> str:
        return show(row.get(key), self.kind, self.digits)


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        kind: What it is, for programs: "results", "check", "times", "growth", …
        title: What it is, for people.
        columns: Its columns.
        rows: Its rows by the columns' keys, raw numbers in base units (seconds, bytes). What has no column is
            for CSV and JSON alone.
        notes: Sentences below it.
        about: What all rows have in common, such as the shape; for CSV and JSON.
        bold: Row numbers and column keys of the cells to stand out: the best ones.
    """

    kind: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    about: Mapping[str, Value] = field(default_factory=dict)
    bold: Set[tuple[int, str]] = frozenset()


@dataclass(frozen=True)
class Report:
    """All that one command found.

    Attributes:
        command: The command as it is typed.
        machine: On which machine it was found, where that counts.
        sections: The tables.
        notes: Sentences below all of them.
    """

    command: str
    machine: Mapping[str, str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()


def with_intervals(report: Report) -> Report:
    """Return a report that shows intervals in place of standard deviations, where its rows have both."""
    return replace(report, sections=[section_with_intervals(section) for section in report.sections])


def section_with_intervals(section: Section) -> Section:
    """Return a table that shows intervals in place of standard deviations, where its rows have both."""
    columns = tuple(_with_interval(column) for column in section.columns)
    if columns == section.columns:
        return section
    note = "In brackets: the 95 % interval of the mean, by bootstrap over the seeds; one seed has none."
    return replace(section, columns=columns, notes=[*section.notes, note])


def _with_interval(column: Column) -> Column:
    return replace(column, spread=None) if column.low is not None else column

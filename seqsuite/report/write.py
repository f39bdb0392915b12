"""A report in the form that was asked for."""

from collections.abc import Callable
from typing import TextIO

from seqsuite.report.data import as_csv, as_json
from seqsuite.report.markup import html, latex, markdown
from seqsuite.report.model import Report, with_intervals

_WRITERS: dict[str, Callable[[Report], str]] = {
    "md": markdown,
    "csv": as_csv,
    "json": as_json,
    "latex": latex,
    "html": html,
}
FORMATS = ("table", *_WRITERS)


def write(report: Report, style: str, file: TextIO, *, intervals: bool = False) -> None:
    """Write a report in one of :data:`FORMATS`; a ``table`` fits the terminal that it goes to.

    With ``intervals`` means have those behind them, in place of standard deviations.
    """
    if intervals:
        report = with_intervals(report)
    if style == "table":
        from seqsuite.report.terminal import write_table  # Rich, which the command line loads only here

        write_table(report, file)
    else:
        file.write(_WRITERS[style](report))

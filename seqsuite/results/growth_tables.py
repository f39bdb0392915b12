"""A benchmark's growth with length, as it is read best: a table a quantity, with a column a length."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TextIO

from seqsuite.report import Column, Report, Section, write
from seqsuite.report import Row as Cells
from seqsuite.report.format import show

_QUANTITIES = (("median_s", "median time", "seconds"), ("peak_bytes", "peak memory", "bytes"))
_FOR_PROGRAMS = ("csv", "json")


def write_benchmark(report: Report, style: str, file: TextIO) -> None:
    """Write a benchmark in one of :data:`seqsuite.report.FORMATS`: growth as a column a length for people."""
    write(report if style in _FOR_PROGRAMS else with_growth_tables(report), style, file)


def with_growth_tables(report: Report) -> Report:
    """Return a report for people, in which a line a length and peer becomes a column a length.

    Behind a time stands how many of ours it is. What was not timed says so below.

    Args:
        report: What ``seqsuite bench scan`` found; one without such a section is returned as it is.
    """
    sections = [table for section in report.sections for table in _tables(section)]
    return replace(report, sections=sections)


def _tables(section: Section) -> Iterator[Section]:
    if section.kind != "growth":
        yield section
        return
    works = list(dict.fromkeys(row["work"] for row in section.rows))
    for work in works:
        rows = [row for row in section.rows if row["work"] == work]
        for key, quantity, kind in _QUANTITIES:
            if any(row.get(key) is not None for row in rows):
                told = [*_missing(rows), *(section.notes if work == works[-1] else [])]
                notes = told if kind == "seconds" else ()
                yield _wide(f"{section.title}: {work}, {quantity}", rows, key, kind, notes)


def _wide(title: str, rows: Sequence[Cells], key: str, kind: str, notes: Sequence[str]) -> Section:
    lengths = sorted({row["seqlen"] for row in rows if row.get(key) is not None})
    peers = dict.fromkeys(row["peer"] for row in rows)
    at = {(row["peer"], row["seqlen"]): row for row in rows}
    lines: list[Cells] = []
    for peer in peers:
        line: Cells = {"peer": peer}
        for seqlen in lengths:
            found = at.get((peer, seqlen), {})
            if found.get(key) is not None:
                line[f"at_{seqlen}"] = show(found[key], kind) + _ratio(found, key)
        if len(line) > 1:
            lines.append(line)
    columns = (
        Column("peer", "peer"),
        *(Column(f"at_{seqlen}", f"L = {seqlen:,}".replace(",", " "), "number") for seqlen in lengths),
    )
    return Section("growth by length", title, columns, lines, notes)


def _ratio(row: Cells, key: str) -> str:
    ratio = row.get("ratio")
    return f" ({show(ratio, 'ratio')})" if key == "median_s" and ratio is not None and ratio != 1 else ""


def _missing(rows: Sequence[Cells]) -> list[str]:
    """Say what was not timed, and why."""
    return [
        f"{row['peer']} at L = {row['seqlen']:,} {row['note']}.".replace(",", " ", 1)
        for row in rows
        if row.get("note")
    ]

"""A sweep over lengths for people: a column a length; for programs it stays a line a length."""

import io
import json
from typing import Any

import pytest

from seqsuite.report import FORMATS, Column, Report, Section
from seqsuite.results.growth_tables import with_growth_tables, write_benchmark

ROWS: list[dict[str, Any]] = [
    {"seqlen": 1024, "work": "forward", "peer": "seqsuite", "median_s": 1e-3, "ratio": 1.0},
    {"seqlen": 1024, "work": "forward", "peer": "sdpa", "median_s": 5e-3, "ratio": 5.0},
    {"seqlen": 4096, "work": "forward", "peer": "seqsuite", "median_s": 4e-3, "ratio": 1.0},
    {"seqlen": 4096, "work": "forward", "peer": "sdpa", "note": "not run: over half of what is free"},
    {"seqlen": 1024, "work": "both", "peer": "seqsuite", "median_s": 2e-3, "ratio": 1.0, "peak_bytes": 2**20},
]
SWEEP = Report(
    "seqsuite bench scan --sweep",
    {"cores": "2"},
    [
        Section("growth", "Growth", (Column("seqlen", "L", "count"),), ROWS, ["The scan is faster."]),
        Section("slopes", "Slopes", (Column("peer", "peer"),), [{"peer": "sdpa"}]),
    ],
)


def test_a_length_is_a_column_and_a_quantity_a_table() -> None:
    forward, both, memory, slopes = with_growth_tables(SWEEP).sections
    assert [column.title for column in forward.columns] == ["peer", "L = 1 024", "L = 4 096"]
    shown = [[column.show(row) for column in forward.columns] for row in forward.rows]
    assert shown == [["seqsuite", "1.00 ms", "4.00 ms"], ["sdpa", "5.00 ms (5.00 ×)", "–"]]
    assert forward.notes == ["sdpa at L = 4 096 not run: over half of what is free."]
    assert both.notes == ["The scan is faster."]
    assert [column.title for column in memory.columns] == ["peer", "L = 1 024"]
    assert memory.title == "Growth: both, peak memory"
    assert slopes == SWEEP.sections[1]


@pytest.mark.parametrize("style", FORMATS)
def test_programs_get_the_lines_and_people_the_columns(style: str) -> None:
    out = io.StringIO()
    write_benchmark(SWEEP, style, out)
    assert ("L = 4 096" in out.getvalue()) == (style not in ("csv", "json"))
    if style == "json":
        assert json.loads(out.getvalue())["sections"][0]["rows"] == ROWS

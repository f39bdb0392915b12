"""How numbers look to people, and that machines get them whole."""

import csv
import io
import json
import math

import pytest
from rich.console import Console

from seqsuite.bench.report import Column, Report, Section, _print, show, write

SECTION = Section(
    kind="times",
    title="(8, 1024, 512, 16) forward",
    columns=(
        Column("peer", "peer"),
        Column("ratio", "÷ ours", "ratio"),
        Column("median_s", "median", "seconds"),
        Column("quartiles_s", "quartiles", "range", optional=True),
        Column("note", "note"),
    ),
    rows=[
        {"peer": "seqsuite", "ratio": 1.0, "median_s": 0.0098, "quartiles_s": [0.0097, 0.0101]},
        {"peer": "a|b", "ratio": math.inf, "median_s": 1.25, "quartiles_s": [1.0, 1.5]},
        {"peer": "slow", "note": "not run: about 83 s a call, over --limit 20"},
    ],
    notes=["A note."],
    about={"shape": [8, 1024, 512, 16], "work": "forward"},
)
REPORT = Report("seqsuite bench scan", {"processor": "a processor", "cores": "2"}, [SECTION])


def written(style: str) -> str:
    out = io.StringIO()
    write(REPORT, style, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "seconds", "–"),
        (None, "text", ""),
        (0.0098, "seconds", "9.80 ms"),
        (0.99996, "seconds", "1.00 s"),
        (63, "seconds", "63.0 s"),
        (4.2e-10, "seconds", "0.420 ns"),
        ([0.001, 0.002], "range", "1.00 ms – 2.00 ms"),
        (164 * 2**20, "bytes", "164 MiB"),
        (12.345, "ratio", "12.3 ×"),
        (0.4, "ratio", "0.400 ×"),
        (1234.5, "ratio", "1230 ×"),
        (0.703, "share", "70 %"),
        (28e9, "rate", "28.0 G"),
        (123.0, "rate", "123"),
        (81856, "count", "81 856"),
        (2.1e-7, "error", "2e-07"),
        (1.0049, "number", "1.00"),
    ],
)
def test_values_are_shown_in_three_digits_and_a_fitting_unit(value, kind: str, text: str) -> None:
    assert show(value, kind) == text


@pytest.mark.parametrize("style", ["table", "md", "csv", "json"])
def test_every_form_has_machine_peers_and_reasons(style: str) -> None:
    text = written(style)
    for part in ("a processor", "seqsuite", "slow", "not run: about 83 s a call"):
        assert part in text


@pytest.mark.parametrize(("width", "shown"), [(200, True), (60, False)])
def test_a_narrow_terminal_shows_fewer_columns_and_no_half_numbers(width: int, shown: bool) -> None:
    out = io.StringIO()
    _print(REPORT, Console(file=out, width=width, force_terminal=True, color_system=None))
    assert ("quartiles" in out.getvalue()) is shown
    assert "9.80 ms" in out.getvalue()
    assert "…" not in out.getvalue()


def test_markdown_escapes_bars_and_keeps_columns_equal() -> None:
    rows = [line for line in written("md").splitlines() if line.startswith("|")]
    assert rows[0] == "| peer | ÷ ours | median | quartiles | note |"
    assert "a\\|b" in rows[3]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


def test_json_holds_raw_numbers_and_no_infinity() -> None:
    content = json.loads(written("json"), parse_constant=lambda name: pytest.fail(name))
    (section,) = content["sections"]
    assert section["shape"] == [8, 1024, 512, 16]
    assert section["rows"][0]["median_s"] == 0.0098
    assert section["rows"][1]["ratio"] is None


def test_csv_is_one_table_of_raw_numbers() -> None:
    first, *_, last = csv.DictReader(io.StringIO(written("csv")))
    assert (first["section"], first["work"], first["median_s"]) == ("times", "forward", "0.0098")
    assert first["quartiles_s"] == "0.0097 0.0101"
    assert first["machine_cores"] == "2"
    assert last["note"].startswith("not run")

"""How numbers look to people, and that machines get them whole."""

import csv
import io
import json
import math
import os
import pty
import re
import threading
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from seqsuite.errors import UserError
from seqsuite.report import FORMATS, Column, Report, Section, write
from seqsuite.report.format import show
from seqsuite.report.pictures import PictureFile, check_picture, save_picture

SECTION = Section(
    kind="times",
    title="(8, 1024, 512, 16) forward & back",
    columns=(
        Column("peer", "peer"),
        Column("ratio", "÷ ours", "ratio"),
        Column("median_s", "median", "seconds"),
        Column("score", "accuracy (%)", "number", digits=1, spread="score_spread"),
        Column("quartiles_s", "quartiles", "range", optional=True),
        Column("note", "note"),
    ),
    rows=[
        {
            "peer": "seqsuite",
            "ratio": 1.0,
            "median_s": 0.0098,
            "score": 98.76,
            "score_spread": 0.44,
            "quartiles_s": [0.0097, 0.0101],
            "hidden": {"a": 1, "b": True},
        },
        {"peer": "a|b_c", "ratio": math.inf, "median_s": 1.25, "score": 7.0, "quartiles_s": [1.0, 1.5]},
        {"peer": "slow", "note": "not run: about 83 s a call, over --limit 20"},
    ],
    notes=["A note: 5 % <b>."],
    about={"shape": [8, 1024, 512, 16], "work": "forward"},
)
REPORT = Report("seqsuite bench scan", {"processor": "a processor", "cores": "2"}, [SECTION], ["Below all."])


def written(style: str, report: Report = REPORT) -> str:
    out = io.StringIO()
    write(report, style, out)
    return out.getvalue()


def on_terminal(width: int, report: Report = REPORT) -> str:
    """Return what a terminal of that width would be sent."""
    parent, child = pty.openpty()
    received = bytearray()

    def receive() -> None:
        try:
            while data := os.read(parent, 4096):
                received.extend(data)
        except OSError:  # Linux ends a closed terminal so
            return

    thread = threading.Thread(target=receive)
    thread.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(child, "w") as terminal:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        write(report, "table", terminal)
    thread.join()
    os.close(parent)
    return received.decode()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "seconds", "–"),
        (None, "text", ""),
        ("", "count", "–"),
        (0.0098, "seconds", "9.80 ms"),
        (0.99996, "seconds", "1.00 s"),
        (63, "seconds", "63.0 s"),
        (4.2e-10, "seconds", "0.420 ns"),
        ([0.001, 0.002], "range", "1.00 ms – 2.00 ms"),
        (164 * 2**20, "bytes", "164 MiB"),
        (512, "bytes", "512 B"),
        (12.345, "ratio", "12.3 ×"),
        (0.4, "ratio", "0.400 ×"),
        (0.256, "share", "26 %"),
        (12345, "count", "12 345"),
        (3e-7, "error", "3e-07"),
        (1.98765, "number", "1.99"),
        (0, "quantity", "0"),
        (999, "quantity", "999"),
        (999.0, "quantity", "999"),
        (1000, "quantity", "1.00 k"),
        (123_456, "quantity", "123 k"),
        (999_600, "quantity", "1.00 M"),
        (1_234_567, "quantity", "1.23 M"),
        (2.8e9, "quantity", "2.80 G"),
        (0.5, "quantity", "0.500"),
    ],
)
def test_values_are_shown_in_three_digits_and_a_fitting_unit(value: object, kind: str, text: str) -> None:
    assert show(value, kind) == text


def test_a_pipe_gets_plain_lines_that_are_never_cut() -> None:
    assert written("table") == (
        "seqsuite bench scan\n"
        "processor: a processor; cores: 2\n"
        "\n"
        "(8, 1024, 512, 16) forward & back\n"
        "peer      ÷ ours   median  accuracy (%)          quartiles  note\n"
        "seqsuite  1.00 ×  9.80 ms    98.8 ± 0.4  9.70 ms – 10.1 ms\n"
        "a|b_c      inf ×   1.25 s           7.0    1.00 s – 1.50 s\n"
        "slow           –        –             –                  –  "
        "not run: about 83 s a call, over --limit 20\n"
        "A note: 5 % <b>.\n"
        "\n"
        "Below all.\n"
    )


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_a_terminal_gets_what_fits_and_no_half_numbers(width: int) -> None:
    shown = on_terminal(width)
    assert "\x1b[" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert any("98.8 ± 0.4" in line for line in lines)
    assert any("9.80 ms" in line for line in lines)
    assert ("quartiles" in shown) is (width != 60)
    assert "…" not in shown


def test_a_table_too_wide_is_one_block_a_row() -> None:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(30)).splitlines()
    place = lines.index("seqsuite")
    assert [line.split() for line in lines[place : place + 5]] == [
        ["seqsuite"],
        ["÷", "ours", "1.00", "×"],
        ["median", "9.80", "ms"],
        ["accuracy", "(%)", "98.8", "±", "0.4"],
        ["quartiles", "9.70", "ms", "–", "10.1"],
    ]


def test_markdown() -> None:
    assert written("md") == (
        "seqsuite bench scan\n"
        "processor: a processor; cores: 2\n"
        "\n"
        "### (8, 1024, 512, 16) forward & back\n"
        "\n"
        "| peer | ÷ ours | median | accuracy (%) | quartiles | note |\n"
        "| --- | ---: | ---: | ---: | ---: | --- |\n"
        "| seqsuite | 1.00 × | 9.80 ms | 98.8 ± 0.4 | 9.70 ms – 10.1 ms |  |\n"
        "| a\\|b_c | inf × | 1.25 s | 7.0 | 1.00 s – 1.50 s |  |\n"
        "| slow | – | – | – | – | not run: about 83 s a call, over --limit 20 |\n"
        "\n"
        "A note: 5 % <b>.\n"
        "\n"
        "Below all.\n"
    )


def test_latex_escapes_what_it_must_and_keeps_every_column() -> None:
    assert written("latex") == (
        "% seqsuite bench scan\n"
        "\n"
        "% (8, 1024, 512, 16) forward \\& back\n"
        "\\begin{tabular}{lrrrrl}\n"
        "\\toprule\n"
        "peer & $\\div$ ours & median & accuracy (\\%) & quartiles & note \\\\\n"
        "\\midrule\n"
        "seqsuite & 1.00 $\\times$ & 9.80 ms & 98.8 $\\pm$ 0.4 & 9.70 ms -- 10.1 ms &  \\\\\n"
        "a|b\\_c & inf $\\times$ & 1.25 s & 7.0 & 1.00 s -- 1.50 s &  \\\\\n"
        "slow & -- & -- & -- & -- & not run: about 83 s a call, over --limit 20 \\\\\n"
        "\\midrule\n"
        "\\multicolumn{6}{l}{A note: 5 \\% <b>.} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\n"
        "% Below all.\n"
    )


def test_html_is_one_page_that_escapes_what_it_must() -> None:
    page = written("html")
    assert page.startswith("<!doctype html>\n")
    assert page.endswith("</body></html>\n")
    assert "<h2>(8, 1024, 512, 16) forward &amp; back</h2>" in page
    assert '<tr><th>peer</th><th class="number">÷ ours</th><th class="number">median</th>' in page
    assert '<tr><td>seqsuite</td><td class="number">1.00 ×</td><td class="number">9.80 ms</td>' in page
    assert "<p>A note: 5 % &lt;b&gt;.</p>" in page
    assert page.count("<tr>") == page.count("</tr>") == 4
    assert "http" not in page


def test_json_holds_raw_numbers_and_no_infinity() -> None:
    content = json.loads(written("json"), parse_constant=lambda name: pytest.fail(name))
    (section,) = content["sections"]
    assert (content["command"], content["machine"]["cores"]) == ("seqsuite bench scan", "2")
    assert (section["kind"], section["shape"]) == ("times", [8, 1024, 512, 16])
    assert section["rows"][0]["median_s"] == 0.0098
    assert section["rows"][0]["hidden"] == {"a": 1, "b": True}
    assert section["rows"][1]["ratio"] is None
    assert content["notes"] == ["Below all."]


def test_csv_is_one_table_of_raw_numbers() -> None:
    first, second, last = csv.DictReader(io.StringIO(written("csv")))
    assert (first["section"], first["work"], first["median_s"]) == ("times", "forward", "0.0098")
    assert (first["score"], first["score_spread"], second["score_spread"]) == ("98.76", "0.44", "")
    assert first["quartiles_s"] == "0.0097 0.0101"
    assert first["hidden"] == "a=1 b=true"
    assert first["machine_cores"] == "2"
    assert last["note"].startswith("not run")


def test_every_form_has_every_row_and_ends_with_a_line_break() -> None:
    for style in FORMATS:
        text = written(style)
        assert text.endswith("\n")
        for part in ("seqsuite", "slow", "not run: about 83 s a call"):
            assert part in text, style


def test_tables_stand_apart() -> None:
    two = Report("a", {}, [SECTION, SECTION])
    assert "\n\n(8, 1024" in written("table", two)
    assert written("md", two).count("### ") == 2
    assert written("latex", two).count("\\begin{tabular}") == 2


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_picture_has_the_form_that_its_suffix_names(tmp_path: Path, suffix: str, start: bytes) -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    file = PictureFile(tmp_path / f"a.{suffix}")
    check_picture(file)
    first = save_picture(figure, file).read_bytes()
    assert first.startswith(start)
    assert save_picture(figure, file).read_bytes() == first


def test_a_picture_for_a_paper_has_its_width_and_its_letters(tmp_path: Path) -> None:
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([1, 2], label="a line")
    left.legend(fontsize=6)
    left.set_title("a title", fontsize=11)
    right.set_xlabel("$10^3$ tokens")
    save_picture(figure, PictureFile(tmp_path / "a.svg", "paper"))
    width, height = figure.get_size_inches()
    assert (width, round(float(height), 2)) == (5.5, 1.9)
    words = [text for text in figure.findobj(Text) if text.get_text()]
    assert {text.get_fontname() for text in words} == {"STIXGeneral"}
    assert {text.get_fontsize() for text in words} == {6.5, 8.0}
    again = Figure(figsize=(4, 4))
    again.subplots(2, 1)
    first, second = (
        save_picture(again, PictureFile(tmp_path / "b.pdf", "paper")).read_bytes() for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.jpg", r"has the suffix '\.jpg': let it end in \.png, \.pdf, \.svg"),
        ("a", "has no suffix"),
        ("missing/a.png", "there is no such folder"),
        ("folder.png", "cannot be written"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=message):
        check_picture(PictureFile(tmp_path / name))


SMALL = Report(
    "seqsuite results",
    {},
    [
        Section(
            "results",
            "dna",
            (Column("model", "model"), Column("bits", "bits", "number", digits=3)),
            [{"model": "mamba – s6", "bits": 1.5}],
            ["Note."],
            {"task": "dna"},
        )
    ],
)


def test_data_is_the_same_bytes_each_time() -> None:
    assert written("csv", SMALL) == "section,task,model,bits\nresults,dna,mamba – s6,1.5\n"
    assert written("json", SMALL) == (
        '{\n  "command": "seqsuite results",\n  "machine": {},\n  "sections": [\n    {\n'
        '      "kind": "results",\n      "title": "dna",\n'
        '      "columns": [\n        {\n          "key": "model",\n          "title": "model"\n        },\n'
        '        {\n          "key": "bits",\n          "title": "bits",\n          "kind": "number",\n'
        '          "digits": 3\n        }\n'
        '      ],\n      "task": "dna",\n      "rows": [\n        {\n'
        '          "model": "mamba – s6",\n          "bits": 1.5\n        }\n      ],\n'
        '      "notes": [\n        "Note."\n      ]\n    }\n  ],\n  "notes": []\n}\n'
    )


def test_a_terminal_gets_a_ruled_table() -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(60, SMALL)).splitlines()
    assert [line.rstrip() for line in shown] == [
        "dna",
        "model        bits",
        "─────────────────",
        "mamba – s6  1.500",
        "Note.",
    ]

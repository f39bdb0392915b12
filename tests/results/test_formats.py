import csv
import io
import json
import math
import os
import pty
import re
import threading
from collections.abc import Sequence

import pytest

from seqsuite.results.formats import FORMATS, print_results, quantity
from seqsuite.results.table import Results, Row, Section
from seqsuite.tasks.base import PaperRow


def row(model: str, values: Sequence[float], spread: float | None = None, **options: str) -> Row:
    return Row(
        model=model,
        options={f"train.{key}": value for key, value in options.items()},
        mean=sum(values) / len(values),
        spread=spread,
        values=dict(enumerate(values)),
        validation=1.5,
        steps=400,
        parameters=1_234_567,
        tokens_per_second=23_456.0,
        train_seconds=60.0,
        baseline=("unigram entropy", 1.967),
        versions=("0.1.0",),
        run_ids=("abc",),
    )


RESULTS = Results(
    sections=(
        Section(
            task="dna",
            scale="cpu",
            metric="bits_per_base",
            higher_is_better=False,
            rows=(
                row("mamba", [1.9, 1.92], 0.0141, learning_rate="0.002", clip="null"),
                row("transformer++", [1.95], learning_rate="0.001", clip="1.0"),
            ),
            paper=(PaperRow("Mamba & co", "bits_per_base", 1.91, "10 K steps", "Table_9"),),
        ),
    ),
    unfinished={"KILLED": 2, "RUNNING": 1},
)


def text(style: str, results: Results = RESULTS) -> str:
    out = io.StringIO()
    print_results(results, style, out)
    return out.getvalue()


def on_terminal(width: int) -> str:
    """Return what a terminal of that width would be sent."""
    parent, child = pty.openpty()
    received = bytearray()

    def receive() -> None:
        try:
            while data := os.read(parent, 4096):
                received.extend(data)
        except OSError:  # Linux ends a closed terminal so
            return

    reader = threading.Thread(target=receive)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(child, "w") as terminal:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        print_results(RESULTS, "table", terminal)
    reader.join()
    os.close(parent)
    return received.decode()


def test_a_pipe_gets_plain_text_that_is_never_cut() -> None:
    assert text("table") == (
        "dna, scale=cpu: test bits per base, lower is better\n"
        "model          bits per base  seeds  params   tok/s  steps  options\n"
        "mamba          1.910 ± 0.014      2  1.23 M  23.5 k    400  learning_rate=0.002 clip=none\n"
        "transformer++          1.950      1  1.23 M  23.5 k    400  learning_rate=0.001 clip=1.0\n"
        "Baseline: 1.967 (unigram entropy)\n"
        "\n"
        "Published: Table_9 (10 K steps)\n"
        "model       bits per base\n"
        "Mamba & co          1.910\n"
        "\n"
        "Not in the tables: 2 killed, 1 running.\n"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_tables_that_fit(width: int) -> None:
    shown = on_terminal(width)
    assert "\x1b[" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(len(line) for line in lines) <= width
    assert any("mamba" in line and "1.910 ± 0.014" in line and "1.23 M" in line for line in lines)
    assert any("learning_rate=0.002" in line for line in lines)
    assert "…" not in shown


def test_markdown() -> None:
    lines = text("md").splitlines()
    assert "| model | bits per base | seeds | params | tok/s | steps | options |" in lines
    assert "| mamba | 1.910 ± 0.014 | 2 | 1.23 M | 23.5 k | 400 | learning_rate=0.002 clip=none |" in lines
    assert "Baseline: 1.967 (unigram entropy)" in lines
    assert "| Mamba & co | 1.910 |" in lines


def test_csv_holds_full_precision_and_marks_published_numbers() -> None:
    ours, other, published = csv.DictReader(io.StringIO(text("csv")))
    assert (ours["model"], float(ours["test_mean"]), float(ours["test_spread"])) == ("mamba", 1.91, 0.0141)
    assert (ours["parameters"], ours["seeds"], ours["source"]) == ("1234567", "2", "seqsuite 0.1.0")
    assert ours["options"] == "train.learning_rate=0.002 train.clip=none"
    assert other["test_spread"] == ""
    assert (published["model"], published["source"], published["seeds"]) == ("Mamba & co", "Table_9", "")


def test_json_is_complete_and_valid() -> None:
    section = Section("dna", "cpu", "bits_per_base", False, (row("mamba", [math.nan]),), ())
    data = json.loads(text("json", Results((section,), {})), parse_constant=pytest.fail)
    assert data["sections"][0]["rows"][0]["mean"] is None
    first = json.loads(text("json"))["sections"][0]
    assert first["rows"][0]["values"] == {"0": 1.9, "1": 1.92}
    assert first["rows"][0]["options"]["train.learning_rate"] == "0.002"
    assert first["paper"][0]["protocol"] == "10 K steps"


def test_latex_escapes_what_it_must() -> None:
    shown = text("latex")
    assert (
        r"mamba & 1.910 $\pm$ 0.014 & 2 & 1.23 M & 23.5 k & 400 & learning\_rate=0.002 clip=none \\" in shown
    )
    assert r"Mamba \& co & 1.910" in shown
    assert r"Published: Table\_9" in shown
    assert shown.count(r"\begin{tabular}") == shown.count(r"\end{tabular}") == 1


def test_every_format_ends_with_a_line_break() -> None:
    assert all(text(style).endswith("\n") for style in FORMATS)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (123_456, "123 k"),
        (999_600, "1000 k"),
        (1_234_567, "1.23 M"),
        (2.8e9, "2.8 G"),
    ],
)
def test_quantities_have_three_digits(value: float | None, shown: str) -> None:
    assert quantity(value) == shown

"""What a table of results says, in each form."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from seqsuite.report import FORMATS
from seqsuite.results.formats import print_results
from seqsuite.results.table import MetricInfo, Paper, Results, Row, Score, Section, Unmatched

ACCURACY = MetricInfo("accuracy", "%", True, 2)
BITS = MetricInfo("bits_per_base", "bits", False, 3)
PAPER = Paper(99.8, "A paper, Table_9", "400 K steps")


def row(model: str, values: Sequence[float], spread: float | None = None, **changes: object) -> Row:
    mean = sum(values) / len(values)
    fields: dict[str, Any] = {
        "model": model,
        "departures": {},
        "options": {},
        "settings": {"train.steps": "4000"},
        "score": Score(mean, spread),
        "values": dict(enumerate(values)),
        "scores": {"accuracy": Score(mean, spread)},
        "validation": 1.5,
        "steps": 4000,
        "parameters": 1_234_567,
        "tokens_per_second": 23_456.0,
        "train_seconds": 60.0,
        "versions": ("0.1.0",),
        "run_ids": ("abc", "def"),
    }
    return Row(**(fields | changes))


COPYING = Section(
    task="copying",
    scale="cpu",
    apart={"task.length": "96"},
    data="",
    metric=ACCURACY,
    baselines={"chance": 7.142857, "order-3": 9.5},
    validation_baselines={},
    rows=(
        row("mamba", [99.9, 99.92], 0.0141, paper={"accuracy": PAPER}),
        row("mamba", [84.5], departures={"mixer.name": "s4d"}, options={"train.clip": "null"}),
    ),
    unmatched=(Unmatched("block=h3 mixer=s4", "accuracy", Paper(57.0, "A paper, Table_9", "400 K steps")),),
    notes=("Paper: A paper, Table_9; 400 K steps. Here: train.steps=4000.",),
)
SETS = Section(
    task="recall",
    scale="smoke",
    apart={},
    data="f00d",
    metric=ACCURACY,
    baselines={},
    validation_baselines={},
    rows=(
        row(
            "mamba",
            [99.0],
            scores={
                "accuracy": Score(99.0, None),
                "length_512/accuracy": Score(98.0, 0.5),
                "length_64/accuracy": Score(97.0, None),
                "length_64/loss": Score(0.3, None),
            },
            paper={"length_512/accuracy": PAPER},
        ),
        row("s4", [50.0]),
    ),
)
RESULTS = Results((COPYING, SETS), {"KILLED": 2, "RUNNING": 1}, ("The study x cannot be used.",))


def text(style: str, results: Results = RESULTS) -> str:
    out = io.StringIO()
    print_results(results, style, out, command="seqsuite results scale=cpu")
    return out.getvalue()


def test_a_pipe_gets_plain_text() -> None:
    assert text("table") == (
        "copying scale=cpu task.length=96: test accuracy (%), higher is better\n"
        "model              accuracy (%)  paper  seeds  params   tok/s  steps  options\n"
        "mamba              99.91 ± 0.01  99.80      2  1.23 M  23.5 k  4 000\n"
        "mamba + mixer=s4d         84.50      –      1  1.23 M  23.5 k  4 000  clip=none\n"
        "Baseline: chance 7.14, order-3 9.50.\n"
        "Paper: A paper, Table_9; 400 K steps. Here: train.steps=4000.\n"
        "\n"
        "copying scale=cpu task.length=96: published, for settings that no row above has\n"
        "settings           accuracy (%)\n"
        "block=h3 mixer=s4         57.00\n"
        "A paper, Table_9; 400 K steps.\n"
        "\n"
        "recall scale=smoke: test accuracy (%), higher is better\n"
        "model  accuracy (%)  seeds  params   tok/s  steps\n"
        "mamba         99.00      1  1.23 M  23.5 k  4 000\n"
        "s4            50.00      1  1.23 M  23.5 k  4 000\n"
        "\n"
        "recall scale=smoke: test accuracy (%) by evaluation set\n"
        "model    length 64    length 512\n"
        "mamba        97.00  98.00 ± 0.50\n"
        "  paper          –         99.80\n"
        "s4               –             –\n"
        "\n"
        "The study x cannot be used.\n"
        "Not in the tables: 2 stopped, 1 running.\n"
    )


def test_latex_has_every_column() -> None:
    shown = text("latex")
    assert "% seqsuite results scale=cpu\n" in shown
    assert "model & accuracy (\\%) & paper & seeds & params & tok/s & steps & options \\\\\n" in shown
    assert "mamba & 99.91 $\\pm$ 0.01 & 99.80 & 2 & 1.23 M & 23.5 k & 4 000 &  \\\\\n" in shown
    assert "\\multicolumn{8}{l}{Paper: A paper, Table\\_9; 400 K steps. Here: train.steps=4000.}" in shown


def test_csv_holds_full_precision_and_marks_published_numbers() -> None:
    lines = list(csv.DictReader(io.StringIO(text("csv"))))
    ours, other, published, *_ = lines
    assert (ours["section"], published["section"]) == ("results", "published")
    assert {key: ours[key] for key in ("task", "scale", "apart", "metric", "metric_unit")} == {
        "task": "copying",
        "scale": "cpu",
        "apart": "task.length=96",
        "metric": "accuracy",
        "metric_unit": "%",
    }
    assert (ours["model"], float(ours["test_mean"]), float(ours["test_spread"])) == ("mamba", 99.91, 0.0141)
    assert (ours["parameters"], ours["seeds"], ours["steps"], ours["versions"]) == (
        "1234567",
        "2",
        "4000",
        "0.1.0",
    )
    assert (ours["tokens_per_second"], ours["train_seconds"]) == ("23456.0", "60.0")
    assert (ours["validation_mean"], ours["paper"], ours["values"]) == ("1.5", "99.8", "0=99.9 1=99.92")
    assert (ours["higher_is_better"], ours["baselines"]) == ("true", "chance=7.142857 order-3=9.5")
    assert (other["test_spread"], other["departures"], other["options"]) == (
        "",
        "mixer.name=s4d",
        "train.clip=null",
    )
    assert (published["label"], published["value"], published["protocol"]) == (
        "block=h3 mixer=s4",
        "57.0",
        "400 K steps",
    )
    by_set = [line for line in lines if line["section"] == "evaluation sets"]
    assert (by_set[0]["length_512_mean"], by_set[0]["length_512_spread"]) == ("98.0", "0.5")


def test_json_is_complete_and_valid() -> None:
    section = Section("dna", "cpu", {}, "", BITS, {}, {}, (row("mamba", [math.nan]),))
    data = json.loads(text("json", Results((section,), {})), parse_constant=pytest.fail)
    assert data["sections"][0]["rows"][0]["test_mean"] is None
    first = json.loads(text("json"))["sections"][0]
    assert first["rows"][0]["values"] == {"0": 99.9, "1": 99.92}
    assert first["rows"][0]["run_ids"] == ["abc", "def"]
    assert first["rows"][1]["departures"] == {"mixer.name": "s4d"}
    assert first["baselines"] == {"chance": 7.142857, "order-3": 9.5}


def test_bits_have_three_digits() -> None:
    section = Section("dna", "cpu", {}, "", BITS, {"unigram": 1.9675}, {}, (row("mamba", [1.91], 0.0141),))
    shown = text("table", Results((section,), {}))
    assert "1.910 ± 0.014" in shown
    assert "Baseline: unigram 1.968." in shown
    assert "Not in the tables" not in shown


def test_of_several_sets_the_first_ranks() -> None:
    two = replace(COPYING, evals="pairs_2: 64 x 7, pairs_3: 64 x 7")
    assert "Tested on, sequences x tokens: pairs_2: 64 x 7, pairs_3: 64 x 7; the first ranks." in text(
        "md", Results((two,), {})
    )
    one = replace(COPYING, evals="all: 64 x 7")
    assert "Tested on, sequences x tokens: all: 64 x 7.\n" in text("md", Results((one,), {}))


def test_every_form_says_it_all() -> None:
    for style in FORMATS:
        shown = text(style)
        for part in ("mixer", "s4d", "57.0", "400 K steps", "The study x cannot be used" * (style != "csv")):
            assert part in shown, (style, part)


def test_options_that_end_alike_are_shown_in_full() -> None:
    ends_alike = {"model.mixer.dt_min": "1", "model.other.dt_min": "2", "train.clip": "3"}
    section = Section("dna", "cpu", {}, "", BITS, {}, {}, (row("mamba", [1.9], options=ends_alike),))
    shown = text("table", Results((section,), {}))
    assert "model.mixer.dt_min=1 model.other.dt_min=2 clip=3" in shown

"""Two runs side by side."""

import math
from dataclasses import replace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.report.markup import markdown
from seqsuite.results.comparison import comparison_report, find_run

from .made_up import Runs, run


def test_what_differs_and_what_was_measured() -> None:
    first = replace(
        run({"train/loss": 2.0, "test/accuracy": 50.0, "best/accuracy": 40.0}, task="copying", model="mamba"),
        run_id="0123456789",
    )
    second = replace(
        run(
            {"train/loss": 1.5, "test/accuracy": 75.123456, "best/accuracy": math.nan, "a/new": 1.0},
            task="copying",
            model="mamba",
            train__steps=7,
        ),
        run_id="abcdefghijk",
        status="KILLED",
    )
    tags = {**second.tags, schema.TAG_HOST: "there", schema.TAG_CELL: first.tags[schema.TAG_CELL]}
    second = replace(second, tags=tags, name=first.name)
    found = comparison_report(first, second, "compare")
    steps = first.params["train.steps"]
    assert markdown(found) == (
        "### What differs\n"
        "\n"
        "| setting | 01234567 | abcdefgh |\n"
        "| --- | --- | --- |\n"
        "| status | finished | stopped |\n"
        f"| train.steps | {steps} | 7 |\n"
        "| host | – | there |\n"
        "\n"
        "### What was measured\n"
        "\n"
        "| metric | 01234567 | abcdefgh | second − first |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| best/accuracy | 40 | nan | – |\n"
        "| test/accuracy | 50 | 75.1235 | +25.12 |\n"
        "| a/new | – | 1 | – |\n"
        "| train/loss | 2 | 1.5 | -0.5 |\n"
    )
    same = comparison_report(replace(first, metrics={}), replace(first, metrics={}), "compare")
    assert (same.sections, same.notes) == ([], ["The two runs differ in no setting that was recorded."])


def test_the_latest_run_is_the_first_and_of_none_there_is_none() -> None:
    runs = [replace(run({}, task="copying", model=model), run_id=model) for model in ("s4", "mamba")]
    assert find_run(Runs(*runs), "latest") is runs[0]
    with pytest.raises(UserError, match=r"There is no run 'latest' in experiment 'made-up'"):
        find_run(Runs(), "latest")

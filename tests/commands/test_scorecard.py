"""``seqsuite scorecard`` as users call it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.experiments.tracking.export import FileReader

Seqsuite = Callable[..., Result]


def test_a_plan_says_what_is_to_be_run(seqsuite: Seqsuite) -> None:
    shown = seqsuite("scorecard", "model=s4d", "--scale", "smoke", "--dry-run", "--experiment", "planned")
    assert shown.exit_code == 0, shown.output
    assert "18 cells; nothing is run" in shown.stdout
    assert "state bytes" in shown.stdout
    assert "0 of 18 cells of the learning rates are finished; then 0 more seeds of the best." in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=mambo"], "Did you mean 'mamba'"),
        (["model=mamba", "task=dna"], "the same in all scorecards"),
        (["model=mamba", "--output", "none/card.html"], "no such folder"),
        (["model=mamba", "--figure", "card.txt"], "let it end in"),
        (["model=mamba", "--from", "none.json"], "none.json cannot be read"),
    ],
)
def test_what_cannot_be_made(seqsuite: Seqsuite, arguments: list[str], message: str) -> None:
    refused = seqsuite("scorecard", "--scale", "smoke", *arguments)
    assert refused.exit_code == 2
    assert message in refused.output
    assert refused.output.count("\n") == 1


@pytest.mark.slow
def test_a_card_from_the_command_to_its_page(seqsuite: Seqsuite, shared_folder: Path) -> None:
    models = ["model=mamba,s4d", "train.steps=2", "train.eval_every=2"]
    command = ["scorecard", *models, "--scale", "smoke", "--experiment", "cards"]
    made = seqsuite(*command, "--output", "card.html", "--figure", "card.svg", "--export", "runs.json")
    assert made.exit_code == 0, made.output
    assert "s4d: scorecard at scale=smoke" in made.stdout
    assert "36 runs in runs.json." in made.stderr
    assert len(FileReader(shared_folder / "runs.json").cells()) == 36
    page = (shared_folder / "card.html").read_text(encoding="utf-8")
    assert page.count('<section class="test"') == 9
    assert "http" not in page.replace("http://www.w3.org", "")
    again = seqsuite(*command, "--output", "again.html", "--format", "json")
    assert again.exit_code == 0, again.output
    assert "best on validation" not in again.output  # nothing is run again
    scores, cost = json.loads(again.stdout)["sections"]
    assert [row["name"] for row in scores["rows"]][:2] == ["copying", "recall"]
    assert {row["model"] for row in cost["rows"]} == {"mamba", "s4d"}
    elsewhere = ["--experiment", "none yet", "--from", "runs.json", "--export", "both.json"]
    continued = seqsuite(*command[:-2], *elsewhere)
    assert continued.exit_code == 0, continued.output
    assert "best on validation" not in continued.output  # what the file has is not run again
    assert "36 runs in both.json." in continued.stderr

import math
import shlex
from dataclasses import replace

import pytest

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.results.run_notes import columns, description, illustrate

from .made_up import run

SETTINGS = {"task": "dna", "model": "mamba", "scale": "smoke", "seed": "3", "model.mixer.d_state": "8"}
TAGS = {
    schema.TAG_TASK: "dna",
    schema.TAG_METRIC: "bits_per_base",
    schema.TAG_METRIC_UNIT: "bits",
    schema.TAG_METRIC_DIGITS: "3",
    schema.TAG_HIGHER_IS_BETTER: "false",
    schema.TAG_BASELINE: "unigram",
    schema.TAG_DATA: "abc123",
}


@pytest.fixture
def journal(tmp_path):
    config = resolve(SETTINGS)
    with Journal.open(tmp_path / "cell") as journal:
        params = config.model_dump(mode="json")
        journal.start(RunHeader("cell", "group", config.title, params, TAGS), None)
        journal.metrics({schema.TRAIN_LOSS: 1.4, schema.VALIDATION_LOSS: 1.4}, 10)
        journal.metrics({schema.TRAIN_LOSS: 1.3, schema.VALIDATION_LOSS: 1.35}, 20)
        final = {
            "test/bits_per_base": 1.94567,
            "best/bits_per_base": 1.9,
            "baseline/bits_per_base": 1.98,
            schema.PARAMETERS: 66512.0,
            schema.BEST_STEP: 1200.0,
            schema.TOKENS_PER_SECOND: 88_312.7,
            schema.TRAIN_SECONDS: 61.0,
        }
        journal.metrics(final, 20)
        yield journal


def test_a_run_says_in_words_what_it_is_and_how_well_it_does(journal, tmp_path) -> None:
    picture = illustrate(journal, tmp_path / "cell")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert journal.tag(schema.TAG_LABEL) == "mamba + d_state=8"
    assert journal.tag(schema.TAG_SCORE) == "1.946 bits"
    assert journal.tag(schema.TAG_SIZE) == "66.5 k"
    assert journal.tag(schema.TAG_RATE) == "88.3 k"
    lines = journal.tag(schema.TAG_NOTE).splitlines()
    assert "| Test bits per base | 1.946 bits |" in lines
    assert "| Best validation bits per base | 1.900 bits |" in lines
    assert "| Baseline: unigram | 1.980 bits |" in lines
    assert "| Step of the model | 1 200 |" in lines
    assert "| Data | `abc123` |" in lines


def test_the_command_in_the_description_is_of_the_same_cell(journal, tmp_path) -> None:
    illustrate(journal, tmp_path / "cell")
    note = journal.tag(schema.TAG_NOTE)
    command = shlex.split(note.partition("```sh\n")[2].partition("\n")[0])
    assert command[:2] == ["seqsuite", "run"]
    again = resolve(dict(setting.split("=", 1) for setting in command[2:]))
    assert again.cell_id("") == resolve(SETTINGS).cell_id("")


def test_what_was_not_recorded_is_left_out_or_said_to_be_none() -> None:
    cell = run({"test/accuracy": 12.345}, task="copying", model="mamba", seed=2)
    unknown = dict.fromkeys((schema.TAG_SIZE, schema.TAG_RATE), "–")
    found = columns(cell)
    assert found.pop(schema.TAG_ORDER) == "copying cpu 000999999987.655000"
    assert found == {schema.TAG_LABEL: "mamba", schema.TAG_SCORE: "12.35 %", **unknown}
    assert description(cell) == (
        "| | |\n"
        "|---|---|\n"
        "| Model | mamba |\n"
        "| Parameters | – |\n"
        "| Test accuracy | 12.35 % |\n"
        "| Best validation accuracy | – % |\n"
        "| Step of the model | 0 |\n"
        "| Trained for | – |\n"
        "| Tokens a second | – |\n"
        "| Data | `` |\n"
        "\n"
        "```sh\n"
        "seqsuite run task=copying model=mamba scale=cpu seed=2\n"
        "```\n"
    )


def test_what_tells_models_apart_is_short_in_a_column_and_whole_in_the_description() -> None:
    settings = {"model__mixer__selective_B": "false", "model__mixer__selective_C": "false"}
    cell = run({"test/accuracy": 12.0}, task="copying", model="mamba", **settings)
    assert columns(cell)[schema.TAG_LABEL] == "mamba + selective_B=false selective_C=false"
    assert "| Model | mamba + mixer.selective_B=false mixer.selective_C=false |" in description(cell)
    other = run({"test/accuracy": 12.0}, task="copying", model="mamba", model__mixer__name="s4d")
    assert columns(other)[schema.TAG_LABEL] == "mamba + mixer=s4d"


def test_a_score_without_a_unit_says_what_it_is() -> None:
    measured = {schema.TAG_METRIC: "perplexity", schema.TAG_METRIC_UNIT: "", schema.TAG_METRIC_DIGITS: "2"}
    cell = run({"test/perplexity": 12.654}, task="text", model="mamba")
    cell = replace(cell, tags={**cell.tags, **measured})
    assert columns(cell)[schema.TAG_SCORE] == "12.65 perplexity"


@pytest.mark.parametrize(
    ("task", "metric", "best_first"),
    [("copying", "accuracy", [99.5, 12.0, 0.0, None]), ("dna", "bits_per_base", [0.5, 1.9, 11.0, math.inf])],
)
def test_runs_are_sorted_best_first(task: str, metric: str, best_first: list[float | None]) -> None:
    scores = [{} if value is None else {f"test/{metric}": value} for value in best_first]
    runs = [run(score, task=task, model="mamba") for score in scores]
    orders = [columns(cell)[schema.TAG_ORDER] for cell in runs]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)

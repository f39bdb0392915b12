import math
import statistics
from collections.abc import Callable

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import Store
from seqsuite.results.formats import options_text
from seqsuite.results.table import collect

Record = Callable[..., str]


def test_seeds_are_averaged_and_models_ranked(store: Store, record: Record) -> None:
    for seed, value in enumerate((1.90, 1.92, 1.97)):
        record("mamba", value, seed=seed)
    record("s4", 1.85)
    (section,) = collect(store).sections
    assert (section.task, section.scale, section.metric) == ("dna", "cpu", "bits_per_base")
    assert [row.model for row in section.rows] == ["s4", "mamba"]
    s4, mamba = section.rows
    assert mamba.mean == pytest.approx(1.93)
    assert mamba.spread == pytest.approx(statistics.stdev((1.90, 1.92, 1.97)))
    assert mamba.values == {0: 1.90, 1: 1.92, 2: 1.97}
    assert (s4.spread, s4.steps, s4.parameters, s4.tokens_per_second) == (None, 100, 123_456, 2500.0)
    assert s4.baseline == ("unigram entropy", 1.97)
    assert s4.validation == pytest.approx(1.84)
    assert not s4.options


def test_the_best_comes_first_in_the_metrics_direction(store: Store, record: Record) -> None:
    for model, value in (("s4", 40.0), ("mamba", 99.0), ("diverged", math.nan)):
        record(model, value, task="selective_copying", metric="accuracy")
    (section,) = collect(store).sections
    assert section.higher_is_better
    assert [row.model for row in section.rows] == ["mamba", "s4", "diverged"]


def test_only_what_is_comparable_shares_a_section(store: Store, record: Record) -> None:
    for task, scale in (("text", "cpu"), ("dna", "smoke"), ("dna", "cpu")):
        record("mamba", 1.9, task=task, scale=scale)
    sections = collect(store).sections
    assert [(section.task, section.scale) for section in sections] == [
        ("dna", "cpu"),
        ("dna", "smoke"),
        ("text", "cpu"),
    ]


def test_rows_of_one_model_show_the_options_that_differ(store: Store, record: Record) -> None:
    record("mamba", 1.8, options={"model.n_layer": 4, "model.d_model": 64, "run.output": "here"})
    record("mamba", 1.9, options={"model.n_layer": 2, "model.d_model": 64, "run.output": "there"})
    record("s4", 1.7, options={"model.n_layer": 9, "model.d_model": 64})
    (section,) = collect(store).sections
    assert [dict(row.options) for row in section.rows] == [{}, {"model.n_layer": "4"}, {"model.n_layer": "2"}]


def test_options_that_follow_from_a_choice_are_not_shown(store: Store, record: Record) -> None:
    h3 = {"model.block.name": "h3", "model.block.d_shift": 64, "model.mixer.name": "s6"}
    gated = {"model.block.name": "mamba", "model.block.expand": 2, "model.mixer.name": "s6"}
    record("mamba", 1.7, options={**h3, "model.mixer.d_state": 16})
    record("mamba", 1.8, options={**gated, "model.mixer.d_state": 16})
    record("mamba", 1.9, options={**gated, "model.mixer.d_state": 64})
    rows = collect(store).sections[0].rows
    assert [dict(row.options) for row in rows] == [
        {"model.block.name": "h3", "model.mixer.d_state": "16"},
        {"model.block.name": "mamba", "model.mixer.d_state": "16"},
        {"model.block.name": "mamba", "model.mixer.d_state": "64"},
    ]
    assert options_text(rows[0], collect(store).sections[0]) == "block=h3 d_state=16"


def test_of_a_cell_that_ran_again_the_newest_finished_run_counts(store: Store, record: Record) -> None:
    record("mamba", 1.5)
    newest = record("mamba", 1.6)
    record("mamba", None, status="KILLED")
    results = collect(store)
    assert results.sections[0].rows[0].run_ids == (newest,)
    assert results.sections[0].rows[0].values == {0: 1.6}
    assert not results.unfinished


def test_unfinished_cells_are_counted(store: Store, record: Record) -> None:
    record("mamba", 1.5)
    record("mamba", None, seed=1, status="KILLED")
    record("s4", None, status="FAILED")
    assert collect(store).unfinished == {"KILLED": 1, "FAILED": 1}


def test_filters(store: Store, record: Record) -> None:
    for task in ("dna", "text"):
        for model in ("mamba", "s4"):
            record(model, 1.9, task=task)
    found = collect(store, tasks=["dna"], models=["s4"], scales=["cpu"])
    assert [(s.task, [row.model for row in s.rows]) for s in found.sections] == [("dna", ["s4"])]
    with pytest.raises(UserError, match="there is task=dna model=mamba scale=cpu; task=dna model=s4"):
        collect(store, models=["transformer"])


def test_papers_numbers_stand_beside_ours_unless_unwanted(store: Store, record: Record) -> None:
    record("mamba", 99.0, task="selective_copying", metric="accuracy")
    paper = collect(store).sections[0].paper
    assert ("Mamba block, S6", 99.8) in {(row.model, row.value) for row in paper}
    assert collect(store, paper=False).sections[0].paper == ()


def test_the_task_of_a_missing_plug_in_has_no_papers_numbers(store: Store, record: Record) -> None:
    record("mamba", 1.0, task="not_installed")
    assert collect(store).sections[0].paper == ()


def test_nothing_to_show_says_what_to_do(store: Store, record: Record) -> None:
    with pytest.raises(UserError, match=r"no results yet.*seqsuite run"):
        collect(store)
    record("mamba", None, status="KILLED")
    with pytest.raises(UserError, match=r"finished yet.*1 killed"):
        collect(store)

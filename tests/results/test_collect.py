import math
import statistics
from collections.abc import Callable

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.results.collect import collect
from seqsuite.results.filters import parse_filters
from seqsuite.results.formats import options_text

Record = Callable[..., str]

PRESET = {"model.block.name": "mamba", "model.mixer.name": "s6", "model.norm": "rms"}
TABLE_1 = {"task": "selective_copying", "metric": "accuracy"}


def test_seeds_are_averaged_and_models_ranked(reader: Reader, record: Record) -> None:
    for seed, value in enumerate((1.90, 1.92, 1.97)):
        record("mamba", value, seed=seed)
    record("s4", 1.85)
    (section,) = collect(reader).sections
    assert (section.task, section.scale, section.metric.name) == ("dna", "cpu", "bits_per_base")
    assert [row.model for row in section.rows] == ["s4", "mamba"]
    s4, mamba = section.rows
    assert mamba.score.mean == pytest.approx(1.93)
    assert mamba.score.spread == pytest.approx(statistics.stdev((1.90, 1.92, 1.97)))
    assert mamba.values == {0: 1.90, 1: 1.92, 2: 1.97}
    assert mamba.train_seconds == pytest.approx(11.0)
    assert (s4.score.spread, s4.steps, s4.parameters, s4.tokens_per_second) == (None, 100, 123_456, 2500.0)
    assert section.baselines == {"unigram entropy": 1.97}
    assert section.validation_baselines == {"unigram entropy": 1.93}
    assert s4.validation == pytest.approx(1.84)
    assert not s4.options


def test_the_best_comes_first_in_the_metrics_direction(reader: Reader, record: Record) -> None:
    for model, value in (("s4", 40.0), ("diverged", math.nan), ("mamba", 99.0)):
        record(model, value, **TABLE_1)
    (section,) = collect(reader).sections
    assert section.metric.higher_is_better
    assert [row.model for row in section.rows] == ["mamba", "s4", "diverged"]


def test_infinity_is_read_back(reader: Reader, slow_reader: Reader, record: Record) -> None:
    record("mamba", math.inf)
    for each in (reader, slow_reader):
        assert collect(each).sections[0].rows[0].score.mean == math.inf


def test_a_metric_has_the_unit_digits_and_direction_that_were_recorded(
    reader: Reader, record: Record
) -> None:
    tags = {schema.TAG_METRIC_UNIT: "dB", schema.TAG_METRIC_DIGITS: "1", schema.TAG_HIGHER_IS_BETTER: "true"}
    record("mamba", 12.34, task="a", metric="signal_to_noise", tags=tags)
    record("mamba", 1.0, task="b", metric="bits_per_byte")
    record("mamba", 1.0, task="c", metric="accuracy")
    record("mamba", 1.0, task="d", metric="loss")
    first, *others = (section.metric for section in collect(reader).sections)
    assert (first.label, first.show(12.34), first.higher_is_better) == ("signal to noise (dB)", "12.3", True)
    assert [(metric.label, metric.show(1.0), metric.higher_is_better) for metric in others] == [
        ("bits per byte", "1.000", False),
        ("accuracy (%)", "1.00", True),
        ("loss", "1.000", False),
    ]


def test_only_what_is_comparable_shares_a_section(reader: Reader, record: Record) -> None:
    for task, scale in (("text", "cpu"), ("dna", "smoke"), ("dna", "cpu")):
        record("mamba", 1.9, task=task, scale=scale)
    assert [section.title for section in collect(reader).sections] == [
        "dna scale=cpu",
        "dna scale=smoke",
        "text scale=cpu",
    ]


def test_other_data_is_another_section_with_its_own_baseline(reader: Reader, record: Record) -> None:
    """A table with ``Baseline: 0.006, 7.279`` tied to no row ranked models on different files together."""
    for data, path, baseline in (("f00d" * 16, "a.fa", 0.006), ("beef" * 16, "b.fa", 7.279)):
        tags = {schema.TAG_DATA: data, schema.TAG_EVALS: "test 512 256"}
        for model in ("mamba", "s4"):
            options = {"task.path": path, "task.reverse_complement": model == "s4"}
            metrics = {schema.BASELINE + "bits_per_base": baseline}
            record(model, 1.9, tags=tags, options=options, metrics=metrics)
    first, second = collect(reader).sections
    assert (first.title, first.baselines) == (
        "dna scale=cpu task.path=b.fa data=beefbeefbeef",
        {"unigram entropy": 7.279},
    )
    assert (second.data, second.baselines) == ("f00d" * 16, {"unigram entropy": 0.006})
    assert {row.model for row in first.rows} == {"mamba", "s4"}


def test_other_evaluation_sets_are_another_section(reader: Reader, record: Record) -> None:
    for seqlen in (256, 512):
        tags = {schema.TAG_DATA: "f00d", schema.TAG_EVALS: f"test 64 {seqlen}"}
        record("mamba", 1.9, tags=tags, options={"task.seqlen": seqlen})
    assert [section.title for section in collect(reader).sections] == [
        "dna scale=cpu task.seqlen=256",
        "dna scale=cpu task.seqlen=512",
    ]


def test_generated_data_is_told_apart_by_the_tasks_options(reader: Reader, record: Record) -> None:
    for length in (64, 128):
        tags = {schema.TAG_DATA: "", schema.TAG_EVALS: "test 64 1"}
        record("mamba", 50.0, **TABLE_1, tags=tags, options={"task.length": length})
    titles = [section.title for section in collect(reader).sections]
    assert titles == [
        "selective_copying scale=cpu task.length=64",
        "selective_copying scale=cpu task.length=128",
    ]


def test_several_baselines_and_evaluation_sets(reader: Reader, record: Record) -> None:
    metrics = {
        "baseline/unigram entropy/bits_per_base": 1.97,
        "baseline/order-3/bits_per_base": 1.91,
        "baseline/gzip/bits_per_base": 2.2,
        "test/length_512/bits_per_base": 1.8,
        "test/perplexity": 3.7,
        "test/loss": 1.3,
    }
    record("mamba", 1.9, metrics=metrics)
    record("mamba", 2.1, metrics=metrics | {"test/length_512/bits_per_base": 2.0}, seed=1)
    (section,) = collect(reader).sections
    assert section.baselines == {"unigram entropy": 1.97, "gzip": 2.2, "order-3": 1.91}
    assert next(iter(section.baselines)) == "unigram entropy"
    scores = section.rows[0].scores
    assert scores["length_512/bits_per_base"].mean == pytest.approx(1.9)
    assert scores["length_512/bits_per_base"].spread == pytest.approx(statistics.stdev((1.8, 2.0)))
    assert scores["perplexity"] == (3.7, 0.0, 3.7, 3.7)


def test_rows_of_one_model_show_the_options_that_differ(reader: Reader, record: Record) -> None:
    record("mamba", 1.8, options={"train.clip": "null", "train.beta1": 0.9, "run.output": "here"})
    record("mamba", 1.9, options={"train.clip": 1.0, "train.beta1": 0.9, "run.output": "there"})
    record("s4", 1.7, options={"train.clip": 2.0})
    (section,) = collect(reader).sections
    assert [dict(row.options) for row in section.rows] == [{}, {"train.clip": "null"}, {"train.clip": "1.0"}]
    assert options_text(section.rows[1], section) == "clip=none"


def test_which_model_was_it(reader: Reader, record: Record) -> None:
    """A row whose mixer was not the preset's said plain ``mamba``."""
    record("mamba", 1.1, options=PRESET)
    record("mamba", 1.2, options=PRESET | {"model.mixer.name": "s4d", "model.mixer.d_state": 64})
    record("mamba", 1.3, options=PRESET | {"model.mixer.d_state": 64, "model.d_model": 128})
    record("mamba", 1.4, options=PRESET | {"model.mixer.d_state": 16, "model.d_model": 32})
    (section,) = collect(reader).sections
    assert [row.label for row in section.rows] == [
        "mamba",
        "mamba + mixer=s4d",
        "mamba + d_model=128 mixer.d_state=64",
        "mamba",
    ]
    assert not any(row.options for row in section.rows)


def test_a_model_that_is_not_here_shows_what_differs_and_says_so(reader: Reader, record: Record) -> None:
    h3 = {"model.block.name": "h3", "model.block.d_shift": 64, "model.mixer.name": "s6"}
    gated = {"model.block.name": "mamba", "model.block.expand": 2, "model.mixer.name": "s6"}
    record("not_installed", 1.7, options={**h3, "model.mixer.d_state": 16})
    record("not_installed", 1.8, options={**gated, "model.mixer.d_state": 16})
    record("not_installed", 1.9, options={**gated, "model.mixer.d_state": 64})
    (section,) = collect(reader).sections
    assert [options_text(row, section) for row in section.rows] == [
        "block=h3 d_state=16",
        "block=mamba d_state=16",
        "block=mamba d_state=64",
    ]
    assert section.notes[:1] == (
        "Not checked against its preset, which is not installed here: not_installed.",
    )


def test_what_all_rows_set_unlike_the_preset_is_said(reader: Reader, record: Record) -> None:
    for model in ("mamba", "s4"):
        record(model, 1.9, options={"train.learning_rate": 0.5})
    (section,) = collect(reader).sections
    assert section.notes == (
        "Unlike the preset of scale=cpu: train.learning_rate=0.5 train.steps=100.",
        "Seeds do not carry that the first row is ahead of the second: they share 1 of the 3 seeds that it "
        "takes.",
    )


def test_smoke_says_that_it_shows_nothing(reader: Reader, record: Record) -> None:
    record("mamba", 1.9, scale="smoke", options={"train.steps": 60})
    assert collect(reader).sections[0].notes == (
        "scale=smoke shows only that things run: its numbers say nothing about the models.",
    )


def test_of_a_cell_that_ran_again_the_newest_finished_run_counts(reader: Reader, record: Record) -> None:
    record("mamba", 1.5)
    newest = record("mamba", 1.6)
    record("mamba", None, status="KILLED")
    results = collect(reader)
    assert results.sections[0].rows[0].run_ids == (newest,)
    assert results.sections[0].rows[0].values == {0: 1.6}
    assert not results.unfinished


def test_unfinished_cells_are_counted(reader: Reader, record: Record) -> None:
    record("mamba", 1.5)
    record("mamba", None, seed=1, status="KILLED")
    record("s4", None, status="FAILED")
    assert collect(reader).unfinished == {"KILLED": 1, "FAILED": 1}


def test_filters(reader: Reader, record: Record) -> None:
    for task in ("dna", "text"):
        for model in ("mamba", "s4"):
            record(model, 1.9, task=task, options={"task.seqlen": 64 if model == "s4" else 128})
    found = collect(reader, tasks=["dna"], models=["s4"], scales=["cpu"])
    assert [(s.task, [row.model for row in s.rows]) for s in found.sections] == [("dna", ["s4"])]
    found = collect(reader, filters=parse_filters(["task=text", "task.seqlen>=100"]))
    assert [(s.task, [row.model for row in s.rows]) for s in found.sections] == [("text", ["mamba"])]
    with pytest.raises(UserError, match="there is task=dna model=mamba scale=cpu; task=dna model=s4"):
        collect(reader, models=["transformer"])
    with pytest.raises(UserError, match=r"Did you mean 'task\.seqlen'"):
        collect(reader, filters=parse_filters(["task.seqlan=3"]))


def test_nothing_to_show_says_what_to_do(reader: Reader, record: Record) -> None:
    with pytest.raises(UserError, match=r"no results yet.*seqsuite run"):
        collect(reader)
    record("mamba", None, status="KILLED")
    with pytest.raises(UserError, match=r"finished yet.*1 stopped"):
        collect(reader)


def test_pandas_has_a_row_a_group_and_a_column_for_each_setting_that_differs(
    reader: Reader, record: Record
) -> None:
    for seed, value in enumerate((1.90, 1.94)):
        record("mamba", value, seed=seed, options=PRESET | {"train.clip": "null", "train.beta1": 0.9})
    other = {"model.mixer.name": "s4d", "train.clip": 1.0}
    record("mamba", 1.8, options=PRESET | {"train.beta1": 0.9} | other)
    frame = collect(reader).to_pandas()
    assert list(frame["mean"]) == pytest.approx([1.8, 1.92])
    assert list(frame["label"]) == ["mamba + mixer=s4d", "mamba"]
    assert list(frame["seeds"]) == [1, 2]
    assert frame["spread"].isna().tolist() == [True, False]
    assert list(frame["model.mixer"]) == ["s4d", "s6"]
    assert frame["train.clip"][0] == 1.0
    assert frame["train.clip"].isna()[1]
    assert "train.beta1" not in frame
    assert "seed" not in frame
    assert list(frame["test/bits_per_base"]) == pytest.approx([1.8, 1.92])
    assert list(frame["baseline"]) == [1.97, 1.97]
    assert frame.loc[1, ["task", "scale", "metric", "unit", "parameters", "tokens_per_second"]].tolist() == [
        "dna",
        "cpu",
        "bits_per_base",
        "bits",
        123_456,
        2500.0,
    ]

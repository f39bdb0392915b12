"""Whole pivot tables of made-up runs, as Markdown."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Report
from seqsuite.report.markup import markdown
from seqsuite.results.pivot import Axes, axis_value, metric_by_set, pivot

from .made_up import run

NAN = float("nan")


def scored(model: str, length: int, accuracy: float, seed: int = 0, **settings: object) -> CellRun:
    given = {"task__length": length, "seed": seed, **settings}
    found = run({"test/accuracy": accuracy}, task="copying", model=model, **given)
    return replace(found, run_id=f"{found.name} {given}")


def ended(cell: CellRun, status: Any, tags: Mapping[str, str]) -> CellRun:
    return replace(cell, status=status, metrics={}, tags={**cell.tags, **tags})


def table(cells: list[CellRun], axes: Axes) -> str:
    return markdown(Report("", {}, pivot(cells, axes), []))


def test_a_table_with_ties_spreads_and_what_did_not_finish() -> None:
    cells = [
        scored("mamba", 64, 90.0),
        scored("mamba", 64, 94.0, seed=1),
        scored("mamba", 128, NAN),
        scored("mamba", 256, 50.0),
        scored("mamba", 512, 10.0),
        scored("s4", 64, 92.0),
        scored("s4", 128, 40.0),
        scored("s4", 128, NAN, seed=1),
        scored("s4", 256, 50.0),
        ended(scored("s4", 512, 0.0), "FAILED", {schema.TAG_FAILURE: "No memory.", schema.TAG_DIVERGED: "1"}),
        ended(scored("h3", 64, 0.0), "RUNNING", {}),
        ended(scored("h3", 128, 0.0), "KILLED", {schema.TAG_FAILURE: "Not told."}),
        ended(scored("h3", 256, 0.0), "SCHEDULED", {}),
        ended(scored("h3", 512, 0.0), "FAILED", {}),
    ]
    name = cells[9].name
    assert table(cells, Axes(("model",), "task.length")) == (
        "### copying scale=cpu: test accuracy (%) by task.length\n"
        "\n"
        "| model | length=64 | length=128 | length=256 | length=512 |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| h3 | running | stopped | scheduled | failed |\n"
        "| mamba | **92.00 ± 2.83** | nan | **50.00** | 10.00 |\n"
        "| s4 | **92.00** | nan | **50.00** | diverged |\n"
        "\n"
        "Seeds: 1 to 2. Best in bold.\n"
        "\n"
        f"{name}: No memory.\n"
        "\n"
        "Seeds do not carry that the best is ahead of the next in length=64, length=128, length=256.\n"
    )


def test_the_lowest_of_bits_is_best_and_one_row_is_best_of_none() -> None:
    def bits(model: str, steps: int, value: float, seed: int) -> CellRun:
        return run({"test/bits_per_byte": value}, task="text", model=model, train__steps=steps, seed=seed)

    cells = [bits("mamba", 100, 1.5 + seed / 100, seed) for seed in range(3)]
    cells += [bits("mamba", 20, 1.8 + seed / 100, seed) for seed in range(3)]
    cells += [bits("s4", 100, 1.6 + seed / 100, seed) for seed in range(3)]
    assert table(cells, Axes(("train.steps",), "model")) == (
        "### text scale=cpu: test bits per byte by model\n"
        "\n"
        "| train.steps | mamba | s4 |\n"
        "| --- | ---: | ---: |\n"
        "| 20 | 1.810 ± 0.010 | – |\n"
        "| 100 | **1.510 ± 0.010** | 1.610 ± 0.010 |\n"
        "\n"
        "Seeds: 3. Best in bold.\n"
    )
    assert table(cells, Axes(("model", "train.steps"))) == (
        "### text scale=cpu: test bits per byte\n"
        "\n"
        "| model | train.steps | bits_per_byte |\n"
        "| --- | --- | ---: |\n"
        "| mamba | 20 | 1.810 ± 0.010 |\n"
        "| mamba | 100 | **1.510 ± 0.010** |\n"
        "| s4 | 100 | 1.610 ± 0.010 |\n"
        "\n"
        "Seeds: 3. Best in bold.\n"
    )
    assert "A cell is the mean of runs that differ in train.steps: filter" in table(cells, Axes(("model",)))
    open_still = table([*cells[3:6], bits("s4", 20, 1.81, 0)], Axes(("model",)))
    assert open_still.endswith("\nSeeds do not carry that the best is ahead of the next.\n")
    smoke = [replace(cell, tags={**cell.tags, schema.TAG_SCALE: "smoke"}) for cell in cells[:1]]
    assert table(smoke, Axes(("model",))).endswith(
        "| mamba | 1.500 |\n\nSeeds: 1.\n\n"
        "scale=smoke shows only that things run: its numbers say nothing about the models.\n"
    )


def test_metrics_of_samples_and_of_sets_have_their_own_titles_and_no_best() -> None:
    metrics = {"test/accuracy": 50.0, "test/length_64/accuracy": 40.0, "sample/fid": 3.25}
    cells = [run(metrics, task="copying", model=model) for model in ("mamba", "s4")]
    (samples,) = pivot(cells, Axes(("model",), None, "sample/fid"))
    assert samples.title == "copying scale=cpu: fid of generated samples"
    assert (samples.bold, samples.about["metric"]) == (frozenset(), "sample/fid")
    assert samples.columns[1].show(samples.rows[0]) == "3.250"
    (one,) = pivot(cells, Axes(("model",), None, "length_64/accuracy"))
    assert one.title == "copying scale=cpu: test accuracy (%) on length_64"
    assert one.columns[1].show(one.rows[0]) == "40.00"
    assert one.bold == {(0, "mean_0"), (1, "mean_0")}
    (sets,) = pivot(cells, Axes(("model",), "set"))
    assert [column.title for column in sets.columns] == ["model", "all", "length_64"]
    assert metric_by_set(cells[0], "accuracy") == [
        ("all", "accuracy"),
        ("length_64", "length_64/accuracy"),
    ]
    with pytest.raises(UserError, match="there is accuracy, length_64/accuracy, sample/fid"):
        pivot(cells, Axes(("model",), None, "loss"))


def test_a_setting_in_words() -> None:
    cell = scored("mamba", 64, 1.0, model__d_model=32, model__mixer="s4d")
    assert axis_value(cell, "task.length") == "64"
    assert axis_value(cell, "model.mixer") == "s4d"
    assert axis_value(cell, "no.such") == "–"
    assert axis_value(replace(cell, params={"train.clip": "null"}), "train.clip") == "none"
    assert axis_value(cell, "model", ["model.d_model"]) == "mamba + mixer=s4d"
    assert "d_model=32" in axis_value(cell, "model", ["model.mixer"])


def test_the_first_set_has_its_name_like_the_others() -> None:
    metrics = {"test/accuracy": 99.0, "test/length_512/accuracy": 50.0}
    cell = run(metrics, task="copying", model="mamba")
    cell = replace(cell, tags={**cell.tags, schema.TAG_EVALS: "length_64: 8 x 64, length_512: 8 x 512"})
    by_name = table([cell], Axes(("model",), None, "length_64/accuracy"))
    assert "| model | length_64/accuracy |\n| --- | ---: |\n| mamba | 99.00 |\n" in by_name
    with pytest.raises(UserError, match="No run has the metric 'length_6/accuracy'"):
        pivot([cell], Axes(("model",), None, "length_6/accuracy"))

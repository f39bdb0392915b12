"""What is collected of made-up runs: sections apart, notes, labels, and why there is nothing."""

import math
from dataclasses import replace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Report
from seqsuite.report.markup import markdown
from seqsuite.results.collect import baselines_of, collect, describe, metric_of, nothing_found
from seqsuite.results.formats import results_report
from seqsuite.results.groups import newest
from seqsuite.results.pivot import Axes, pivot

from .drawn import check
from .made_up import Runs, run, trained


def tagged(cell: CellRun, **tags: str) -> CellRun:
    names = {"data": schema.TAG_DATA, "evals": schema.TAG_EVALS, "scale": schema.TAG_SCALE}
    return replace(cell, tags={**cell.tags, **{names[key]: value for key, value in tags.items()}})


def copied(model: str, accuracy: float, **settings: object) -> CellRun:
    metrics = {"test/accuracy": accuracy, **trained(51_200.0, 1e12), "best/accuracy": accuracy - 1}
    metrics |= {"baseline/accuracy": 6.25, "baseline/order-3/accuracy": 8.0}
    return run(metrics, task="copying", model=model, **settings)


def test_a_whole_report_of_results_is_what_is_expected() -> None:
    cells = [copied("mamba", 90.0 + seed, seed=seed, task__length=64) for seed in range(3)]
    cells += [copied("mamba", 80.0 + seed, seed=seed, train__learning_rate=0.5) for seed in range(3)]
    cells += [copied("s4", 90.0, seed=seed, task__length=64) for seed in range(2)]
    cells += [copied("s4", math.nan, model__mixer="s4d", task__length=64)]
    cells += [replace(copied("h3", 1.0), status=status) for status in ("FAILED", "KILLED")][:1]
    text = {"test/bits_per_byte": 1.5, "test/length_64/bits_per_byte": 1.75, "sample/fid": 2.0}
    for place, data in enumerate(("f00d" * 16, "beef" * 16)):
        one = run(text, task="text", model="mamba", train__steps=7, seed=place)
        cells.append(tagged(one, data=data, evals="test: 8 x 64"))
    check("results.md", markdown(results_report(collect(Runs(*cells)))))


def test_sections_apart_by_the_first_twelve_letters_of_their_data() -> None:
    one = run({"test/bits_per_byte": 1.5}, task="text", model="mamba")
    cells = [tagged(one, data=data, evals="test: 8 x 64") for data in ("0123456789abcdef", "f" * 64)]
    cells = [replace(cell, tags={**cell.tags, schema.TAG_CELL: str(at)}) for at, cell in enumerate(cells)]
    titles = [section.title for section in collect(Runs(*cells), paper=False).sections]
    assert titles == ["text scale=cpu data=0123456789ab", "text scale=cpu data=ffffffffffff"]
    (alone,) = collect(Runs(cells[0]), paper=False).sections
    assert alone.title == "text scale=cpu"
    (other,) = [
        section
        for section in collect(Runs(cells[0], tagged(cells[1], scale="smoke")), paper=False).sections
        if section.scale == "smoke"
    ]
    assert other.apart == {}


def test_of_equal_status_the_first_run_is_kept_and_of_others_the_finished_one() -> None:
    base = copied("mamba", 90.0)
    states = ("KILLED", "FINISHED", "FINISHED", "FAILED")
    runs = [replace(base, run_id=str(place), status=state) for place, state in enumerate(states)]
    assert [cell.run_id for cell in newest(runs)] == ["1"]
    assert [cell.run_id for cell in newest([runs[0], runs[3]])] == ["0"]


def test_why_there_is_nothing() -> None:
    mamba, s4 = copied("mamba", 1.0), copied("s4", 2.0)
    assert nothing_found(Runs(), [], []) == (
        "There are no results yet in the experiment 'made-up': start with "
        "`seqsuite run task=dna model=mamba`."
    )
    assert nothing_found(Runs(), [s4, mamba, mamba], []) == (
        "No cell matches; there is task=copying model=mamba scale=cpu; task=copying model=s4 scale=cpu."
    )
    many = [tagged(mamba, scale=f"scale{place:02d}") for place in range(14)]
    named = "; ".join(f"task=copying model=mamba scale=scale{place:02d}" for place in range(12))
    assert nothing_found(Runs(), many[:12], []) == f"No cell matches; there is {named}."
    assert nothing_found(Runs(), many, []) == f"No cell matches; there is {named}; and 2 others."
    lost = [replace(s4, status="KILLED"), replace(mamba, status="FAILED"), replace(mamba, status="KILLED")]
    assert nothing_found(Runs(), lost, lost) == "No cell has finished yet (1 failed, 2 stopped)."
    assert describe({"RUNNING": 2, "FAILED": 1}) == "1 failed, 2 running"
    with pytest.raises(UserError, match="No cell has finished yet"):
        collect(Runs(*lost))


def test_what_runs_of_earlier_versions_did_not_record() -> None:
    cell = copied("mamba", 1.0)
    tags = {key: value for key, value in cell.tags.items() if key != schema.TAG_METRIC_UNIT}
    told = [
        metric_of(replace(cell, tags={**tags, schema.TAG_METRIC: name}))
        for name in ("accuracy", "bits_per_byte", "loss")
    ]
    assert [(metric.unit, metric.digits) for metric in told] == [("%", 2), ("bits", 3), ("", 3)]
    assert list(baselines_of([cell], schema.BASELINE, "accuracy").items()) == [
        ("baseline", 6.25),
        ("order-3", 8.0),
    ]
    assert baselines_of([cell], schema.BASELINE, "loss") == {}


def test_what_all_rows_share_unlike_the_preset_is_a_note_and_the_models_own_is_none() -> None:
    rate = {"train__learning_rate": 0.5, "model__d_model": 24}
    both = [copied("mamba", 1.0, train__steps=7, **rate), copied("s4", 2.0, train__steps=9, **rate)]
    (section,) = collect(Runs(*both), paper=False).sections
    assert section.notes[0] == "Unlike the preset of scale=cpu: train.learning_rate=0.5."
    assert [row.label for row in section.rows] == ["s4 + d_model=24", "mamba + d_model=24"]
    assert [dict(row.options) for row in section.rows] == [{}, {}]
    (usual,) = collect(Runs(both[0], copied("s4", 2.0)), paper=False).sections
    assert not any(note.startswith("Unlike") for note in usual.notes)


def test_speeds_of_unequal_conditions_are_told() -> None:
    cells = [copied("mamba", 90.0, seed=seed) for seed in range(2)]
    note = "Speeds are no comparison"
    for slower, told in ((0.9, False), (0.5, True)):
        speed = {schema.TOKENS_PER_SECOND: slower * cells[1].metrics[schema.TOKENS_PER_SECOND]}
        other = replace(cells[1], metrics={**cells[1].metrics, **speed})
        (section,) = collect(Runs(cells[0], other), paper=False).sections
        assert any(text.startswith(note) for text in section.notes) == told


def test_seeds_of_different_plugin_code_are_told() -> None:
    one, other = (copied("mamba", 90.0 + seed, seed=seed) for seed in range(2))
    one, other = (
        replace(cell, tags={**cell.tags, schema.TAG_CODE: code})
        for cell, code in ((one, "p.py 1"), (other, "p.py 2"))
    )
    note = (
        "mamba: a plug-in's code changed between its runs, as `seqsuite results compare RUN RUN` shows; "
        "--force runs them again."
    )
    (section,) = collect(Runs(one, other), paper=False).sections
    assert note in section.notes
    (shown,) = pivot([one, other], Axes(("model",)))
    assert note in shown.notes
    (same,) = collect(
        Runs(one, replace(other, tags={**other.tags, schema.TAG_CODE: "p.py 1"})), paper=False
    ).sections
    assert note not in same.notes


def test_seeds_of_versions_with_and_without_an_option_share_a_row() -> None:
    cells = [copied("mamba", 90.0 + seed, seed=seed) for seed in range(3)]
    params = {key: value for key, value in cells[0].params.items() if key != "train.ema"}
    old = replace(
        cells[0], params=params, tags={**cells[0].tags, schema.TAG_GROUP: "old", schema.TAG_CELL: "old"}
    )
    (section,) = collect(Runs(*cells[1:], old), paper=False).sections
    assert [row.values for row in section.rows] == [{0: 90.0, 1: 91.0, 2: 92.0}]
    assert newest([cells[0], cells[1], old]) == cells[:2]
    other = replace(old, params=params | {"train.ema": "0.9"})
    assert len(collect(Runs(*cells[1:], other), paper=False).sections[0].rows) == 2


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_seed_without_a_number_leaves_the_others_to_be_shown(lost: float) -> None:
    cells = [copied("mamba", 90.0, seed=seed) for seed in range(2)]
    cells[1] = replace(cells[1], metrics={**cells[1].metrics, "test/length_64/loss": lost})
    cells[0] = replace(cells[0], metrics={**cells[0].metrics, "test/length_64/loss": 1.0})
    (section,) = collect(Runs(*cells), paper=False).sections
    assert section.rows[0].scores["length_64/loss"].spread is None
    assert section.rows[0].score.spread == 0.0


def test_baselines_may_be_infinite() -> None:
    """MLflow stores infinity as its largest number, the mean of two of which overflows."""
    cells = [replace(copied("mamba", 1.0), metrics={"baseline/accuracy": 1.797e308}) for _ in range(2)]
    assert baselines_of(cells, schema.BASELINE, "accuracy") == {"baseline": math.inf}


def test_a_pivot_of_different_data_says_so() -> None:
    cells = [tagged(copied("mamba", 90.0, seed=seed), data=str(seed)) for seed in range(2)]
    told = "A cell is the mean of runs on different data"
    assert told in markdown(report_of(cells))
    assert told not in markdown(report_of(cells[:1]))


def report_of(cells: list[CellRun]) -> Report:
    return Report("seqsuite results", {}, pivot(cells, Axes(("model",))))

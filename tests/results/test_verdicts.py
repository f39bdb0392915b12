"""Of a study's runs: which exist, and whether the found order holds."""

import math
from dataclasses import replace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.collect import collect
from seqsuite.results.studies import Study
from seqsuite.results.studies.outcome import order_table, study_report
from seqsuite.results.studies.plan import StudyReader, standing, study_cells
from seqsuite.results.studies.study import Expected
from seqsuite.results.studies.verdict import compared, mark, shown

from .copying import MAMBA, S4D, STUDY, Runs, run, runs


def verdict(*cells: CellRun, scale: str = "cpu", study: Study = STUDY) -> str:
    return mark(study, scale, compared(study, collect(Runs(*cells))))


def test_an_order_holds_only_where_all_intervals_say_so() -> None:
    assert verdict(*runs()) == "as in the paper"
    assert verdict(*runs(S4D, MAMBA)) == "not as in the paper"
    assert verdict(*runs(mamba=(95.0, 60.0, 96.0))) == "seeds disagree"
    assert verdict(*runs((95.0, 96.0), (80.0, 81.0))) == "not enough seeds"
    further = STUDY.expected[0].model_copy(update={"worse": {"model": "hyena"}})
    both = STUDY.model_copy(update={"expected": (*STUDY.expected, further)})
    assert verdict(*runs(), study=both) == "not all runs"
    assert verdict(*runs(S4D, MAMBA), study=both) == "not as in the paper"
    grid = ["task=selective_copying model=mamba model.mixer=s6,s4,s4d seed=0..2"]
    assert verdict(*runs(), study=STUDY.model_copy(update={"grids": {"cpu": grid}})) == "not all runs"
    assert verdict(*runs(), scale="smoke") == "smoke only"
    assert verdict(*runs(), study=STUDY.model_copy(update={"expected": ()})) == "–"


def test_what_the_runs_show_is_told_in_sentences_with_differences_and_seeds() -> None:
    def told(*cells: CellRun, scale: str = "cpu", study: Study = STUDY) -> str:
        return shown(study, scale, compared(study, collect(Runs(*cells))))

    assert told(*runs()) == (
        "The order of the models is as in the paper (of 1 pair, 1 ahead). "
        "mamba is ahead of s4d at length=96 by 13.000 in accuracy, with 3 seeds."
    )
    at_both = [*runs(S4D, MAMBA), *runs((95.0, 96.0), (80.0, 81.0), task__length="50")]
    assert told(*at_both) == (
        "The order of the models is not as in the paper (of 2 pairs, 1 behind, 1 open). "
        "The differences go from mamba behind s4d at length=96 by 13.000 to mamba ahead of s4d at length=50 "
        "by 15.000 in accuracy, with 2 to 3 seeds."
    )
    assert told(*runs((95.0, 96.0), (80.0, 81.0))).startswith("Nothing is shown: it takes three seeds (of 1")
    assert told(*runs(mamba=(95.0, 60.0, 96.0))).startswith("Nothing is shown: the seeds disagree (of 1 pair")
    assert told(*runs((math.nan,) * 3)) == "Nothing is shown: the seeds disagree (of 1 pair, 1 open)."
    assert told(*runs(), scale="smoke") == "Nothing is shown: scale=smoke says only that things run."
    assert told(*runs()[:3]) == "Nothing is shown yet: there are no two rows whose order was found."
    at_512 = [STUDY.expected[0].model_copy(update={"metric": "length_512/accuracy"})]
    further = [replace(one, metrics=one.metrics | {"test/length_512/accuracy": 2.0}) for one in runs()]
    assert told(*further, study=STUDY.model_copy(update={"expected": at_512})).endswith(
        "mamba is level with s4d at length=96 in accuracy of length_512, with 3 seeds."
    )
    none = STUDY.model_copy(update={"expected": ()})
    assert told(*runs(), study=none).startswith("No order of models is expected")


def test_rows_are_compared_only_where_the_rest_is_the_same() -> None:
    other = [run("s4d", seed, score, task__length="128") for seed, score in enumerate(S4D)]
    only_mamba = [cell for cell in runs() if cell.params["model.name"] == "mamba"]
    assert verdict(*only_mamba, *other) == "no pair to compare yet"
    assert not compared(STUDY, collect(Runs(*only_mamba)))
    (pair,) = compared(STUDY, collect(Runs(*runs())))
    assert (pair.better.model, pair.worse.model, pair.metric) == ("mamba", "s4d", "accuracy")
    assert pair.difference.mean == pytest.approx(13.0)
    assert pair.difference.seeds == 3
    assert pair.difference.verdict == "ahead"


def test_runs_are_in_the_order_of_a_setting_though_it_makes_other_tests() -> None:
    """Longer contexts are to be ahead of shorter ones, each on windows of its own length."""
    mamba = {"model": "mamba"}
    longer = Expected(task="selective_copying", better=mamba, worse=mamba, larger="task.length")
    study = STUDY.model_copy(update={"expected": [longer]})
    cells = [
        run("mamba", seed, score, task__length=length)
        for length, scores in (("96", (90.0, 91.0, 92.0)), ("768", (95.0, 96.0, 97.0)), ("1024", MAMBA))
        for seed, score in enumerate(scores)
    ]
    found = collect(Runs(*cells))
    pairs = compared(study, found)
    order = {row["at"]: row["verdict"] for row in order_table(pairs).rows}
    assert order == {
        "length=768 over 96": "ahead",
        "length=1024 over 96": "ahead",
        "length=1024 over 768": "open",
    }
    assert mark(study, "cpu", pairs) == "seeds disagree"


def test_what_of_a_study_exists() -> None:
    cells = study_cells("mine", STUDY, "cpu")
    assert [(cell.model.name, cell.seed) for cell in cells] == [
        (model, seed) for model in ("mamba", "s4d") for seed in range(3)
    ]
    assert standing(cells, []).finished == 0
    found = standing(
        cells,
        [
            run("mamba", 0, 0.0, "FAILED"),  # newer than the finished one, and undoes nothing
            run("mamba", 0, 95.0),
            run("mamba", 0, 94.0),  # of those that are finished, the newest
            run("mamba", 1, 0.0, "KILLED"),
            run("s4d", 2, 80.0),
            run("s4d", 0, 80.0, task__length="50"),  # another cell
        ],
    )
    assert (found.cells, found.finished) == (6, 2)
    assert dict(found.statuses) == {"FINISHED": 2, "KILLED": 1}
    assert found.seconds == 10.0 + 12.0
    assert found.steps == sum(cell.train.steps for cell in cells)


def test_settings_over_a_studys_grid_make_its_cells_others() -> None:
    shorter = study_cells("mine", STUDY, "smoke", ["train.steps=3,4"])
    assert sorted((cell.model.name, cell.train.steps) for cell in shorter) == [
        (model, steps) for model in ("mamba", "s4d") for steps in (3, 4)
    ]
    with pytest.raises(UserError, match=r"no grid at scale=gpu: it has cpu, smoke"):
        study_cells("mine", STUDY, "gpu")
    with pytest.raises(UserError, match="by --scale"):
        study_cells("mine", STUDY, "cpu", ["scale=gpu"])
    with pytest.raises(UserError, match="only published numbers"):
        study_cells("mine", STUDY.model_copy(update={"grids": {}}), "cpu")


def test_a_studys_reader_reads_its_cells_and_no_others() -> None:
    every = [*runs(), run("s4d", 0, 80.0, task__length="50")]
    reader = StudyReader(Runs(*every), study_cells("mine", STUDY, "cpu"))
    assert reader.cells() == every[:-1]
    assert reader.get("mamba-1-FINISHED") == every[1]
    assert reader.history("mamba-1-FINISHED", "validation/accuracy") == [(1, 30.0), (2, 60.0)]


def test_a_studys_report_has_its_table_all_rows_and_the_order() -> None:
    reader = Runs(*runs())
    made = study_report("mine", STUDY, "cpu", reader, collect(reader), "seqsuite reproduce mine")
    assert made.sections[0].kind == "pivot"
    order = made.sections[-1]
    (row,) = order.rows
    assert (order.kind, row["mean"], row["seeds"], row["verdict"]) == (
        "order",
        pytest.approx(13.0),
        3,
        "ahead",
    )
    assert row["low"] <= row["mean"] <= row["high"]
    assert list(made.notes)[:2] == ["mine at scale=cpu: as in the paper.", "Found in the paper: S6 is ahead."]

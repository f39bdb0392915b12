"""What a study's pictures show: lines by a setting, a set or a measure, the paper's beside them, and laws."""

import dataclasses
import math
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from pydantic import ValidationError

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Report
from seqsuite.report.markup import markdown
from seqsuite.results.collect import collect
from seqsuite.results.scaling import Run
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.laws import laws
from seqsuite.results.studies.lines import lines_of, metric_for, published_lines
from seqsuite.results.studies.outcome import study_tables
from seqsuite.results.studies.pictures import study_figure
from seqsuite.results.studies.study import Picture

from .drawn import check, in_words
from .made_up import Runs, run, trained

STEPS = {32: (600, 1200), 48: (330, 660), 64: (215, 430)}


def language() -> list:
    """Return runs of three sizes and two numbers of tokens, whose loss falls to 1 with their operations."""
    found = []
    for d_model, steps in STEPS.items():
        for number in steps:
            size, tokens = 50.0 * d_model**2, number * 4096.0
            flops = 6 * size * tokens
            loss = 1 + 2 * (flops / 1e12) ** -0.3
            loss *= 1 + 0.0003 * (number % 3)  # no law holds exactly
            metrics = {"test/bits_per_byte": loss, **trained(size, flops, tokens)}
            settings = {"model__d_model": d_model, "train__steps": number}
            found.append(run(metrics, task="text", model="mamba", **settings))
    return found


def induction(model: str, *accuracies: float, seed: int = 0):
    """Return a run that scored accuracies at 64, 128, …; 100 at the length of training."""
    metrics = {f"test/length_{64 * 2**at}/accuracy": value for at, value in enumerate(accuracies)}
    metrics |= {"test/accuracy": 100.0, "baseline/accuracy": 6.25}
    return run(metrics, task="induction_heads", model=model, seed=seed)


def legend(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def test_lines_by_evaluation_set_have_its_length_and_all_seeds() -> None:
    cells = [
        induction("mamba", 99.0, 98.0),
        induction("mamba", 97.0, 96.0, seed=1),
        induction("h3", 50.0, 40.0),
    ]
    h3, mamba = lines_of(cells, Picture(x="set"))
    assert (h3.label, mamba.label) == ("h3", "mamba")
    assert [(point.x, point.values) for point in mamba.points] == [
        (64, (99.0, 97.0)),
        (128, (98.0, 96.0)),
        (256, (100.0, 100.0)),
    ]


def test_lines_by_a_setting_do_not_tell_it_among_departures() -> None:
    cells = [
        run({"test/accuracy": 50.0 + width}, task="mqar", model="mamba", model__d_model=width)
        for width in (16, 32)
    ]
    (line,) = lines_of(cells, Picture(x="model.d_model"))
    assert line.label == "mamba"
    assert [(point.x, point.mean) for point in line.points] == [(16, 66.0), (32, 82.0)]
    with pytest.raises(UserError, match=r"at a number of 'model\.mixer'"):
        lines_of(cells, Picture(x="model.mixer"))


def test_the_papers_lines_stand_beside_by_set_and_by_setting() -> None:
    studies = load_studies()[0]
    by_set = {
        line.label: line for line in published_lines(studies["table2"], "induction_heads", "accuracy", "set")
    }
    assert [(point.x, point.mean) for point in by_set["paper: mamba s6"].points] == [
        (512, 100.0),
        (1024, 100.0),
        (1048576, 100.0),
    ]
    by_length = published_lines(studies["fig6"], "great_apes", "accuracy", "task.seqlen")
    assert [line.label for line in by_length] == [
        "paper: hyena 1.4m",
        "paper: mamba 1.4m",
        "paper: mamba 7.0m",
    ]
    assert len(by_length[0].points) == 6


def test_induction_heads_are_drawn_by_length() -> None:
    reader = Runs(induction("mamba", 100.0, 100.0), induction("h3", 50.0, 40.0))
    (axes,) = study_figure(load_studies()[0]["table2"], reader, collect(reader)).axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "length of the test (tokens)"
    assert {"h3", "mamba", "paper: mamba s6", "baseline: 6.25"} <= set(legend(axes))
    styles = [
        (line.get_marker(), line.get_linestyle()) for line in axes.lines if str(line.get_label())[0] != "_"
    ]
    assert len(set(styles)) == len(styles)  # told apart without colours


def test_language_has_its_power_law_and_a_panel_of_equal_operations() -> None:
    reader = Runs(*language())
    study = load_studies()[0]["fig4"]
    fitted, optima = laws(reader.cells(), study.figures)
    (row,) = fitted.rows
    assert row["line"] == "mamba"
    assert row["exponent"] == pytest.approx(0.3, abs=5e-3)
    assert row["low"] <= row["exponent"] <= row["high"]
    assert re.search(r"\| mamba \|.*\| (0\.\d{3} \| ){3}", markdown(Report("", {}, [fitted], [])))
    assert all(bool(row["note"]) == (row["optimum"] is None) for row in optima.rows)
    figure = study_figure(study, reader, collect(reader))
    by_flops, equal = figure.axes
    assert (by_flops.get_xscale(), by_flops.get_yscale()) == ("log", "log")
    assert legend(by_flops)[0].startswith("mamba: floor 0.97, exponent −0.29")
    assert equal.get_title("left") == "mamba: equal training FLOPs"
    assert all("FLOPs, best" in label for label in legend(equal))


def test_two_sizes_have_no_law_and_the_table_says_so() -> None:
    cells = [cell for cell in language() if cell.params["model.d_model"] != "64"]
    fitted, optima = laws(cells, load_studies()[0]["fig4"].figures)
    assert fitted.rows[0]["law"] == "none: a power law takes 3 different sizes, and there are 2"
    assert "takes 3 sizes" in optima.rows[0]["note"] or "take 3 sizes" in optima.rows[0]["note"]
    reader = Runs(*cells)
    figure = study_figure(load_studies()[0]["fig4"], reader, collect(reader))
    assert legend(figure.axes[0]) == ["mamba: no law"]
    assert {mark.get_markersize() for mark in figure.axes[0].get_lines()} == {5}


def test_points_off_the_frontier_are_hollow_and_the_legend_says_so() -> None:
    cells = [
        run(
            trained(size, flops) | {"test/bits_per_byte": loss},
            task="text",
            model="mamba",
            model__d_model=width,
        )
        for width, size, flops, loss in ((32, 1e5, 1e12, 3.0), (48, 2e5, 2e12, 3.5), (64, 3e5, 3e12, 2.5))
    ]
    study = load_studies()[0]["fig4"]

    def drawn(*cells: CellRun) -> tuple[list[str], list[str]]:
        axes = study_figure(study, Runs(*cells), collect(Runs(*cells))).axes[0]
        faces = [str(line.get_markerfacecolor()) for line in axes.lines if len(line.get_xdata()) == 1]
        return faces, legend(axes)

    faces, told = drawn(*cells)
    assert [face == "none" for face in faces] == [False, True, False]
    assert told[-1] == "hollow: beaten at no more FLOPs, not fitted"
    faces, told = drawn(cells[0], cells[2])
    assert "none" not in faces
    assert not any("hollow" in text for text in told)


def test_a_study_has_a_table_before_all_its_mixers_have_run() -> None:
    """``seqsuite report`` stopped at table6 as soon as one of its cells had run, for table7 perhaps."""
    study = load_studies()[0]["table6"]
    reader = Runs(run({"test/bits_per_byte": 1.6}, task="text", model="mamba"))
    (table,) = study_tables(study, reader)
    assert table.columns[0].title == "model.mixer"
    assert len(table.rows) == 1


def test_bits_by_context_are_drawn_by_position() -> None:
    metrics = {f"test/bits_per_sample_by_position/{4**at}": 5.0 - at for at in range(2, 5)}
    cells = [
        run(
            {"test/bits_per_sample": 4.0 + length / 1e4, **metrics},
            task="piano",
            model="mamba",
            task__seqlen=length,
        )
        for length in (256, 1024)
    ]
    reader = Runs(*cells)
    by_length, by_position = study_figure(load_studies()[0]["fig7"], reader, collect(reader)).axes
    assert legend(by_length) == ["mamba"]
    assert legend(by_position) == ["mamba seqlen=256", "mamba seqlen=1024"]
    np.testing.assert_allclose(by_position.lines[-1].get_xdata(), [16, 64, 256])


def test_what_was_not_measured_is_said_in_its_panel() -> None:
    study = Study.model_validate({"title": "a", "source": "b", "figures": [{"x": "flops"}]})
    reader = Runs(run({"test/accuracy": 50.0}, task="mqar", model="mamba"))
    (axes,) = study_figure(study, reader, collect(reader)).axes
    assert (
        axes.texts[0].get_text()
        == "Nothing to draw: no run has the metric 'accuracy' at a number of 'flops'."
    )


def test_a_run_of_infinite_loss_is_drawn_and_has_no_law() -> None:
    cells = [*language(), *language()]
    cells[0] = run(
        {**cells[0].metrics, "test/bits_per_byte": math.inf}, task="text", model="s4", model__d_model=32
    )
    reader = Runs(*cells)
    assert study_figure(load_studies()[0]["fig4"], reader, collect(reader)).axes


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ({}, "lines have an x"),
        ({"kind": "isoflops", "x": "flops"}, "isoflops none"),
        ({"x": "parameters", "fit": "frontier"}, "that of x = 'flops'"),
    ],
)
def test_a_picture_that_makes_no_sense_is_refused(picture: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Picture.model_validate(picture)


def test_a_studys_pictures_are_drawn_as_expected() -> None:
    studies = load_studies()[0]
    lines = Runs(
        induction("mamba", 99.0, 98.0), induction("mamba", 97.0, 96.0, seed=1), induction("h3", 50.0, 40.0)
    )
    check("study_lines.txt", in_words(study_figure(studies["table2"], lines, collect(lines))))
    falling = Runs(*language())
    check("study_laws.txt", in_words(study_figure(studies["fig4"], falling, collect(falling))))


def test_sizes_apart_and_pictures_of_three_panels_are_drawn_as_expected() -> None:
    """The least loss lies between the sizes; nine numbers of tokens are too many for a tick each."""
    study = Study.model_validate({
        "title": "Sizes",
        "source": "made up",
        "figures": [
            {"x": "parameters", "log": "xy", "fit": "all", "label": "size"},
            {"kind": "isoflops"},
            {"x": "tokens", "log": "x"},
        ],
    })  # fmt: skip
    cells = []
    for d_model in (16, 32, 64):
        for place, steps in enumerate((10, 20, 40)):
            size = 50.0 * d_model**2
            flops, tokens = 1e12 * 3**place, 1e12 * 3**place / size / 6
            bowl = 0.1 * math.log(d_model / 36) ** 2
            metrics = {"test/bits_per_byte": 2 + bowl - 0.1 * place, **trained(size, flops, tokens)}
            settings = {"model__d_model": d_model, "train__steps": steps}
            cells.append(run(metrics, task="text", model="mamba", **settings))
    reader = Runs(*cells)
    check("study_sizes.txt", in_words(study_figure(study, reader, collect(reader))))
    check("study_sizes.md", markdown(Report("", {}, laws(cells, study.figures), [])))


def test_lines_are_told_apart_by_several_settings_and_told_from_infinity() -> None:
    both = Picture(x="task.length", lines=["model", "train.steps"])
    cells = [
        run({"test/accuracy": 10.0}, task="copying", model="mamba", task__length=64, train__steps=20),
        run({"test/accuracy": 2e308 / 2}, task="copying", model="mamba", task__length=128, train__steps=20),
        dataclasses.replace(
            run({"test/accuracy": 9.0}, task="copying", model="s4", task__length=64), status="KILLED"
        ),
    ]
    (line,) = lines_of(cells, both)
    assert (line.label, line.runs) == ("mamba steps=20", ())
    assert [(point.x, point.mean) for point in line.points] == [(64.0, 10.0), (128.0, math.inf)]
    assert lines_of(cells[:1], Picture(x="task.length", lines="train.steps"))[0].label == "20"


def test_measures_are_in_six_digits_and_need_all_that_was_recorded() -> None:
    took = trained(51_200.0, 1.23456789e12, tokens=7654321.0)
    whole = run({"test/bits_per_byte": 2.0, **took}, task="text", model="mamba", model__d_model=32)
    part = run({"test/bits_per_byte": 2.5, **took}, task="text", model="s4", model__d_model=32)
    del part.metrics[schema.FLOPS_PER_SECOND]
    for x, at in (("parameters", 51_200.0), ("flops", 1.23457e12), ("tokens", 7_654_320.0)):
        (line,) = lines_of([whole, part], Picture(x=x))
        assert (line.label, [point.x for point in line.points]) == ("mamba", [at])
        assert line.runs == (Run(51_200.0, 7_654_320.0, 1.23457e12, 2.0),)


def test_the_first_set_stands_at_its_length_where_its_name_has_none() -> None:
    cell = run({"test/accuracy": 99.0, "test/length_512/accuracy": 90.0}, task="copying", model="mamba")
    (line,) = lines_of([cell], Picture(x="set"))
    assert [(point.x, point.mean) for point in line.points] == [(256.0, 99.0), (512.0, 90.0)]


def test_the_metric_of_a_picture() -> None:
    cell = run({"test/accuracy": 99.0}, task="copying", model="mamba")
    for name, unit, digits in (
        ("", "%", 2),
        ("accuracy", "%", 2),
        ("loss_by_position", "nats", 3),
        ("fid", "", 3),
    ):
        metric = metric_for([cell], Picture(x="set", metric=name))
        assert (metric.name, metric.unit, metric.digits) == (name or "accuracy", unit, digits)
        assert metric.higher_is_better == (unit == "%")


def test_laws_say_in_words_what_there_is_none_of() -> None:
    pictures = [Picture(x="parameters", fit="all"), Picture(kind="isoflops")]
    (fitted,) = laws(language(), pictures[:1])
    assert [fitted.rows[0][key] for key in ("x", "points")] == ["parameters", 6]
    fitted, optima = laws(language()[:4], pictures)
    assert fitted.rows == [
        {
            "line": "mamba",
            "x": "parameters",
            "law": "none: a power law takes 3 different x, and there are 2",
        }
    ]
    assert optima.rows == [
        {
            "line": "mamba",
            "note": "none: equal operations take 3 sizes with two numbers of tokens each, and there are 2",
        }
    ]
    assert laws(language(), [Picture(x="tokens")]) == []
    unmeasured = [run({"test/bits_per_byte": 1.0}, task="text", model="mamba")]
    assert laws(unmeasured, pictures) == []


def made(cells: list, **picture: object) -> Axes:
    """Return the one panel of a picture."""
    study = Study.model_validate({"title": "a", "source": "b", "figures": [picture]})
    (axes,) = study_figure(study, Runs(*cells), collect(Runs(*cells))).axes
    return axes


def test_up_to_four_lines_have_one_column_and_up_to_seven_numbers_a_tick_each() -> None:
    def copied(d_model: int, length: int, **metrics: float):
        scores = {"test/accuracy": 50.0, "baseline/accuracy": 6.25, "baseline/other/accuracy": 9.0}
        settings = {"task__length": length, "model__d_model": d_model}
        return run({**scores, **metrics}, task="copying", model="mamba", **settings)

    by_width = {"x": "task.length", "lines": "model.d_model"}
    for count, columns in ((3, 1), (4, 2)):
        axes = made([copied(16 * (place + 1), 64) for place in range(count)], **by_width)
        assert len(legend(axes)) == count + 1  # the usual baseline only
        assert axes.get_legend()._ncols == columns
        assert axes.get_xscale() == "log"
    for count in (7, 8):
        axes = made([copied(16, 48 + 10 * place) for place in range(count)], x="task.length")
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert (labels[:2] == ["48.0", "58.0"]) == (count == 7)
    near = made([copied(16, length) for length in (48, 50, 99)], x="task.length")
    assert [label.get_text() for label in near.get_xticklabels()] == ["48.0", "", "99.0"]
    other = made([copied(16, 64, **{"test/length_128/accuracy": 3.0})], x="task.length", log="")
    assert (other.get_xscale(), legend(other)) == (
        "linear",
        ["mamba + d_model=16", "baseline: 6.25"],
    )
    further = made(
        [copied(16, 64, **{"test/length_128/accuracy": 3.0})], x="task.length", metric="length_128/accuracy"
    )
    assert legend(further) == ["mamba + d_model=16"]


def test_a_long_legend_leaves_the_panel_its_size_and_two_chances_are_not_one() -> None:
    """Ten entries in two columns squeezed the panel to a strip, and a line stood between two chances."""

    def tracked(problem: str, length: int, chance: float, negative: bool = True):
        return run(
            {"test/accuracy": 60.0, "baseline/accuracy": chance},
            task="state_tracking",
            model="gated_deltanet",
            task__length=length,
            task__problem=problem,
            model__mixer__negative_eigenvalues=negative,
        )

    cells = [
        tracked(problem, length, 50.0, negative)
        for problem in ("parity", "arithmetic", "A5", "S5", "Z60")
        for length in (32, 64)
        for negative in (True, False)
    ]
    axes = made(cells, x="task.length", lines=["task.problem", "model"])
    figure = axes.get_figure()
    figure.draw_without_rendering()
    assert len(legend(axes)) == 11
    assert axes.get_position().width * figure.get_figwidth() > 4
    assert axes.get_position().height * figure.get_figheight() > 2
    mixed = made([tracked("parity", 32, 50.0), tracked("A5", 32, 1.7)], x="task.length", lines="task.problem")
    assert legend(mixed) == ["A5", "parity"]


@pytest.mark.parametrize(
    ("slope", "note", "best"),
    [
        (-0.1, "at the largest size or above", "≥ 205 k"),
        (0.1, "at the smallest size or below", "≤ 51.2 k"),
    ],
)
def test_a_best_size_beyond_those_trained_is_told_by_its_side(slope: float, note: str, best: str) -> None:
    cells = []
    for d_model in STEPS:
        for place, steps in enumerate((10, 20)):
            loss = 2 + slope * math.log(d_model / 48) - 0.1 * place
            size, flops = 50.0 * d_model**2, 1e12 * 2**place
            took = trained(size, flops, flops / size)
            settings = {"model__d_model": d_model, "train__steps": steps}
            cells.append(run({"test/bits_per_byte": loss, **took}, task="text", model="mamba", **settings))
    (optima,) = laws(cells, [Picture(kind="isoflops")])
    assert [(row["optimum"], row["sizes"], row["note"]) for row in optima.rows] == [(None, 3, note)] * 3
    axes = made(cells, kind="isoflops")
    assert legend(axes)[0] == f"1.00 TFLOPs, best {best}"

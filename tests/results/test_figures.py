import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.pictures import PictureFile
from seqsuite.results import figures
from seqsuite.results.collect import collect
from seqsuite.results.curves import curves_figure
from seqsuite.results.table import SMOKE, MetricInfo

from .drawn import check, in_words

Record = Callable[..., str]

LOSSES = {step: 1.5 - step / 200 for step in range(10, 101, 10)}


def recorded(reader: Reader, run_id: str) -> tuple[CellRun, figures.Series]:
    """Return a run, and its metrics by name."""
    return reader.get(run_id), lambda metric: reader.history(run_id, metric)


def lines(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines}


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


@pytest.mark.parametrize(("task", "metric"), [("dna", "bits_per_base"), ("selective_copying", "accuracy")])
def test_a_learning_curve_is_drawn(
    reader: Reader, record: Record, tmp_path: Path, task: str, metric: str
) -> None:
    run_id = record("mamba", 1.9, task=task, metric=metric, losses=LOSSES)
    path = figures.loss_curve(*recorded(reader, run_id), tmp_path / "new folder")
    assert path == tmp_path / "new folder" / "loss_curve.png"
    picture = imread(path)
    assert picture.shape[1] > 900
    assert picture[..., :3].std() > 0.05


def test_losses_are_in_bits_and_the_baseline_is_that_of_the_validation_set(
    reader: Reader, record: Record
) -> None:
    figure = figures.loss_figure(*recorded(reader, record("mamba", 1.9, losses=LOSSES)))
    (axes,) = figure.axes
    drawn = lines(axes)
    bits = [loss / math.log(2) for loss in LOSSES.values()]
    np.testing.assert_allclose(drawn["training"].get_ydata(), bits)
    np.testing.assert_allclose(drawn["training"].get_xdata(), list(LOSSES))
    np.testing.assert_allclose(
        drawn["validation"].get_ydata(), [(loss + 0.1) / math.log(2) for loss in LOSSES.values()]
    )
    assert legend(axes) == ["training", "validation", "unigram entropy: 1.930"]
    assert list(drawn["unigram entropy: 1.930"].get_ydata()) == [1.93, 1.93]
    assert axes.get_ylabel() == "bits per base"
    assert figure.get_suptitle() == "dna, mamba, scale=cpu train.steps=100 seed=0"


def test_another_metric_has_a_panel_of_its_own(reader: Reader, record: Record) -> None:
    run_id = record("mamba", 44.0, task="selective_copying", metric="accuracy", losses=LOSSES)
    upper, lower = figures.loss_figure(*recorded(reader, run_id)).axes
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("loss (bits per target)", "accuracy (%)")
    np.testing.assert_allclose(lines(lower)["validation"].get_ydata(), list(LOSSES.values()))
    assert legend(upper) == ["training", "validation"]
    assert legend(lower) == ["validation", "chance: 6.50"]


def test_a_long_curve_is_smoothed_over_a_fiftieth(reader: Reader, record: Record) -> None:
    noisy = {step: float(step % 2) for step in range(100)}
    (axes,) = figures.loss_figure(*recorded(reader, record("mamba", 1.9, losses=noisy))).axes
    smooth = lines(axes)["training"]
    np.testing.assert_allclose(smooth.get_ydata(), 0.5 / math.log(2))
    np.testing.assert_allclose(smooth.get_xdata(), np.arange(99) + 0.5)


def test_a_run_that_diverged_is_drawn(reader: Reader, record: Record, tmp_path: Path) -> None:
    losses = LOSSES | {60: float("nan"), 70: float("inf")}
    run_id = record("mamba", None, status="FAILED", losses=losses)
    assert figures.loss_curve(*recorded(reader, run_id), tmp_path).exists()


def test_a_run_that_recorded_nothing_is_drawn_empty(reader: Reader, record: Record, tmp_path: Path) -> None:
    run_id = record("mamba", None, status="KILLED")
    assert figures.loss_curve(*recorded(reader, run_id), tmp_path).exists()


def test_models_are_compared_with_their_spread(reader: Reader, record: Record, tmp_path: Path) -> None:
    options = {"train.learning_rate": 1e-3}
    for seed, value in enumerate((1.90, 1.92)):
        later = {step: loss + seed for step, loss in LOSSES.items() if seed == 0 or step > 10}
        record("mamba", value, seed=seed, options=options, losses=later)
    record("s4", 1.95, losses=LOSSES)
    record("s4", float("nan"), options=options, losses=LOSSES)
    record("s4", 44.0, task="selective_copying", metric="accuracy")
    figure = figures.comparison(reader, collect(reader))
    learning, ranking, *others = figure.axes
    assert len(others) == 2
    drawn = learning.lines[0]
    assert legend(learning) == ["s4", "unigram entropy: 1.930"]  # it has no score, so no point beside it
    steps = [step for step in LOSSES if step > 10]
    np.testing.assert_allclose(drawn.get_xdata(), steps)
    np.testing.assert_allclose(drawn.get_ydata(), [LOSSES[step] + 0.5 for step in steps])
    (band,) = learning.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (LOSSES[100], LOSSES[20] + 1)
    assert learning.get_ylabel() == "validation bits per base"
    assert legend(ranking) == ["unigram entropy: 1.970"]
    assert ranking.get_xlabel() == "test bits per base (← better)"
    assert [tick.get_text() for tick in ranking.get_yticklabels()] == [
        "mamba",
        "s4",
        "s4\nlearning_rate=0.001",
    ]
    assert [text.get_text() for text in ranking.texts] == ["1.910 ± 0.014", "1.950"]
    assert others[1].get_xlabel() == "test accuracy (%) (→ better)"
    assert learning.get_title("left") == "dna scale=cpu"


def test_models_scored_once_are_compared_by_their_training_loss(reader: Reader, record: Record) -> None:
    """One point a model says nothing of how it learned."""
    for seed in (0, 1):
        later = {step: loss + seed for step, loss in LOSSES.items()}
        record("mamba", 1.9, seed=seed, losses=later, validated=lambda step: step == max(LOSSES))
    learning, ranking = figures.comparison(reader, collect(reader)).axes
    (drawn,) = learning.get_lines()
    np.testing.assert_allclose(drawn.get_xdata(), list(LOSSES))
    mean = [(loss + 0.5) / math.log(2) for loss in LOSSES.values()]
    np.testing.assert_allclose(drawn.get_ydata(), mean)
    assert learning.get_ylabel() == "training loss (bits per target)"
    assert legend(learning) == []
    assert legend(ranking) == ["unigram entropy: 1.970"]


def test_a_baseline_far_off_is_named_and_not_drawn(reader: Reader, record: Record) -> None:
    """It left a table of language models as one line at the foot of the picture."""
    record("mamba", 1.616, losses=LOSSES)
    record("s4", 1.619, losses=LOSSES)
    learning, ranking = figures.comparison(reader, collect(reader)).axes
    assert legend(ranking) == ["unigram entropy: 1.970 →"]
    low, high = ranking.get_xlim()
    assert 1.6 < low < high < 1.7
    assert legend(learning)[-1] == "unigram entropy: 1.930"


@pytest.mark.parametrize(
    ("points", "scale", "unit", "named"),
    [
        ([2.0, 3.0], "linear", "bits", ["0.1", "0.5", "4.0", "5.1 ↑"]),
        ([2.0, 3.0], "linear", "%", ["0.1", "0.5", "4.0", "5.1"]),
        ([2.0, 3.0], "log", "bits", ["0.1 ↓", "0.5 ↓", "4.0", "5.1"]),
        ([3.5], "linear", "bits", ["0.1 ↓", "0.5 ↓", "4.0", "5.1 ↑"]),
        ([math.nan], "linear", "bits", ["0.1", "0.5", "4.0", "5.1"]),
        ([], "linear", "bits", ["0.1", "0.5", "4.0", "5.1"]),
    ],
)
def test_how_far_off_a_baseline_is_drawn(
    points: list[float], scale: str, unit: str, named: list[str]
) -> None:
    axes = Figure().subplots()
    axes.plot(range(len(points)), points, ".")
    axes.set_yscale(scale)
    if len(points) == 2:
        axes.set_ylim(*points)
    baselines = {"a": 0.1, "b": 0.5, "c": 4.0, "d": 5.1, "unknown": math.nan, "none": math.inf}
    figures.draw_baselines(axes, "y", baselines, MetricInfo("score", unit, False, 1))
    assert [label.split(": ")[1] for label in axes.get_legend_handles_labels()[1]] == named


def test_papers_number_is_drawn_in_the_row_of_its_settings(reader: Reader, record: Record) -> None:
    options = {"model.block.name": "mamba", "model.mixer.name": "s6"}
    record("s4", 99.9, task="selective_copying", metric="accuracy")
    record("mamba", 99.0, task="selective_copying", metric="accuracy", options=options)
    _, ranking = figures.comparison(reader, collect(reader)).axes
    paper = lines(ranking)["paper, at its budget"]
    assert (list(paper.get_xdata()), list(paper.get_ydata())) == ([99.8], [1])


@pytest.mark.parametrize("name", ["compare.svg", "compare.pdf", "compare.png"])
def test_a_comparison_is_written_in_the_form_asked_for(
    reader: Reader, record: Record, tmp_path: Path, name: str
) -> None:
    record("mamba", 1.9, losses=LOSSES)
    path = figures.compare(reader, collect(reader), PictureFile(tmp_path / name))
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[name[-3:]]
    assert path.read_bytes().startswith(start)


def test_a_folder_that_cannot_be_written_is_reported(reader: Reader, record: Record, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run_id = record("mamba", 1.9, losses=LOSSES)
    with pytest.raises(UserError, match="cannot be written"):
        figures.loss_curve(*recorded(reader, run_id), tmp_path / "file" / "folder")


def test_curves_of_runs_lie_over_each_other(reader: Reader, record: Record) -> None:
    runs = [reader.get(record(model, 1.9, losses=LOSSES)) for model in ("mamba", "s4")]
    loss, bits = curves_figure(reader, runs).axes
    assert legend(loss) == [f"{run.name} ({run.run_id[:8]})" for run in runs]
    assert (loss.get_ylabel(), bits.get_ylabel()) == (
        "training loss (bits per target)",
        "validation bits per base",
    )
    assert bits.get_xlabel() == "step"
    for drawn in loss.lines:
        np.testing.assert_allclose(drawn.get_ydata(), [value / math.log(2) for value in LOSSES.values()])
    np.testing.assert_allclose(bits.lines[0].get_ydata(), list(LOSSES.values()))


def test_a_long_run_is_drawn_as_expected(reader: Reader, record: Record) -> None:
    losses = {step: 1.5 - step / 500 for step in range(2, 242, 2)}
    options = {"task.length": 64}
    run_id = record("mamba", 44.0, task="copying", metric="accuracy", losses=losses, options=options)
    bits = record("mamba", 1.9, losses=losses, seed=3)
    for name, run in (("loss.txt", run_id), ("loss_in_bits.txt", bits)):
        check(name, in_words(figures.loss_figure(*recorded(reader, run))))


def test_a_comparison_is_drawn_as_expected(reader: Reader, record: Record) -> None:
    """Colours come again after seven."""
    for count, task in ((8, "dna"), (9, "text")):
        for place in range(count):
            options = {"train.learning_rate": f"{place + 1}e-3", "model.name": "mamba"}
            losses = {10: 2.0 + place / 10, 20: 1.5 + place / 10}
            record("mamba", 1.5 + place / 10, task=task, options=options, losses=losses)
    for seed, value in enumerate((50.0, 54.0, 52.0)):
        losses = {10: 10.0 + seed, 20: value}
        settings = {"model.block.name": "mamba", "model.mixer.name": "s6"}
        on = {"task": "selective_copying", "metric": "accuracy", "seed": seed}
        record("mamba", value, options=settings, losses=losses, **on)
    check("comparison.txt", in_words(figures.comparison(reader, collect(reader))))


def test_a_comparison_at_the_smallest_scale_says_that_it_is_no_evidence(
    reader: Reader, record: Record
) -> None:
    record("mamba", 1.9)
    assert figures.comparison(reader, collect(reader)).get_supxlabel() == ""
    record("mamba", 1.9, scale="smoke")
    assert figures.comparison(reader, collect(reader)).get_supxlabel() == SMOKE


def test_names_stand_at_the_ranking_alone_and_apart(reader: Reader, record: Record) -> None:
    """A legend of them lay over the curves, and long ones touched each other."""
    model = {"model.name": "mamba", "model.block.name": "mamba", "model.mixer.name": "s6", "model.n_layer": 1}
    mixer = {"model.mixer.d_state": 4, "model.mixer.dt_min": 1e-5, "model.mixer.dt_max": 1e-3}
    for width in range(8):
        options = model | mixer | {"model.d_model": 48 + width}
        record("mamba", 1.9 + width / 100, losses=LOSSES, options=options)
    figure = figures.comparison(reader, collect(reader))
    figure.draw_without_rendering()
    learning, ranking = figure.axes
    assert legend(learning) == ["unigram entropy: 1.930"]
    assert learning.get_legend().get_window_extent().y0 > learning.get_window_extent().y1
    assert learning._left_title.get_window_extent().y0 > learning.get_legend().get_window_extent().y1
    labels = ranking.get_yticklabels()
    assert all("n_layer=1" in label.get_text() and label.get_text().count("\n") >= 3 for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(boxes))
    assert boxes[0].y1 < learning.get_window_extent().y1


def test_a_long_name_is_not_broken(reader: Reader, record: Record) -> None:
    record("mamba_of_a_very_long_name_indeed", 1.9, losses=LOSSES)
    (label,) = figures.comparison(reader, collect(reader)).axes[1].get_yticklabels()
    assert label.get_text() == "mamba_of_a_very_long_name_indeed"


def test_curves_of_runs_are_drawn_as_expected(reader: Reader, record: Record) -> None:
    long, short = ({step: 2.0 - step / 100 for step in range(count)} for count in (20, 19))
    runs = [reader.get(record(f"model_{place}", 1.9, losses=short)) for place in range(6)]
    runs.append(reader.get(record("mamba", 50.0, task="copying", metric="accuracy", losses=long)))
    words = in_words(curves_figure(reader, runs))
    for place, run in enumerate(runs):
        words = words.replace(run.run_id[:8], f"run {place}")
    check("curves.txt", words)

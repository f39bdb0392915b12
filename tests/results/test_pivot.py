"""Pivot tables and files of runs: what stands in which cell, what is best, and what did not finish."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.export import FileReader, export_runs
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.report import Report, write
from seqsuite.results.collect import collect
from seqsuite.results.pivot import Axes, pivot

Record = Callable[..., str]


@pytest.fixture
def grid(reader: Reader, record: Record) -> Reader:
    """Two models at two lengths; one has two seeds, and one failed."""
    for model, length, seed, test in [
        ("mamba", 64, 0, 90.0),
        ("mamba", 64, 1, 94.0),
        ("mamba", 256, 0, 80.0),
        ("s4", 64, 0, 50.0),
    ]:
        options = {"task.length": length}
        losses = {1: 3.0, 2: 2.0}
        record(model, test, task="copying", metric="accuracy", seed=seed, options=options, losses=losses)
    failed = {schema.TAG_FAILURE: "There is no memory left."}
    record(
        "s4",
        None,
        task="copying",
        metric="accuracy",
        options={"task.length": 256},
        status="FAILED",
        tags=failed,
    )
    return reader


def test_cells_are_means_the_best_is_bold_and_failures_are_told(grid: Reader) -> None:
    sections = pivot(grid.cells(), Axes(("model",), "task.length"))
    out = io.StringIO()
    write(Report("x", {}, sections), "md", out)
    lines = out.getvalue().splitlines()
    assert "| model | length=64 | length=256 |" in lines
    assert "| mamba | **92.00 ± 2.83** | 80.00 |" in lines
    assert "| s4 | 50.00 | failed |" in lines
    assert "Seeds: 1 to 2. Best in bold." in lines
    assert any(line.endswith("There is no memory left.") for line in lines)
    page, terminal = io.StringIO(), io.StringIO()
    write(Report("x", {}, sections), "html", page)
    assert '<td class="number"><b>92.00 ± 2.83</b></td>' in page.getvalue()
    write(Report("x", {}, sections), "latex", terminal)
    assert r"mamba & \textbf{92.00 $\pm$ 2.83} & 80.00 \\" in terminal.getvalue()


def test_a_cell_of_unlike_runs_says_so(grid: Reader) -> None:
    (section,) = pivot(grid.cells(), Axes(("model",)))
    assert any("differ in task.length" in note for note in section.notes)
    assert section.rows[0]["mean_0"] == pytest.approx(88.0)


def test_evaluation_sets_make_columns(reader: Reader, record: Record) -> None:
    record("mamba", 99.0, task="copying", metric="accuracy", metrics={"test/length_512/accuracy": 70.0})
    (section,) = pivot(reader.cells(), Axes(("model",), "set"))
    assert [column.title for column in section.columns] == ["model", "first", "length_512"]
    one_seed = {"spread": None, "low": None, "high": None, "seeds": 1}
    assert section.rows == [
        {"row_0": "mamba"}
        | {f"{part}_0": value for part, value in ({"mean": 99.0} | one_seed).items()}
        | {f"{part}_1": value for part, value in ({"mean": 70.0} | one_seed).items()}
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (Axes(("task.lenth",)), "Did you mean 'task.length'"),
        (Axes(("model",), "task.lenth"), "No run has a setting 'task.lenth'"),
        (Axes(("model",), None, "acuracy"), "Did you mean 'accuracy'"),
    ],
)
def test_axes_that_no_run_has(grid: Reader, axes: Axes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pivot(grid.cells(), axes)


def test_a_file_of_runs_is_read_as_the_store_is(grid: Reader, record: Record, tmp_path: Path) -> None:
    record("hyena", float("nan"), task="copying", metric="accuracy")
    record("h3", float("inf"), task="copying", metric="accuracy")
    path = tmp_path / "runs.json"
    assert export_runs(grid, grid.cells(), path) == 7
    again = FileReader(path)
    axes = Axes(("model",), "seed")
    assert repr(pivot(again.cells(), axes)) == repr(pivot(grid.cells(), axes))
    assert collect(again).to_pandas().to_csv() == collect(grid).to_pandas().to_csv()
    run = next(cell for cell in grid.cells() if cell.params["model.name"] == "mamba")
    assert again.history(run.run_id, "validation/accuracy") == [(1, 3.0), (2, 2.0)]
    assert again.get(run.run_id).name == run.name
    assert "process" not in path.read_text()
    copy = tmp_path / "copy.json"
    export_runs(again, again.cells(), copy)
    assert copy.read_bytes() == path.read_bytes()


def test_files_that_hold_no_runs(grid: Reader, tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    with pytest.raises(UserError, match="cannot be read"):
        FileReader(path)
    for text in ("a table", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(UserError, match="holds no runs"):
            FileReader(path)
    export_runs(grid, grid.cells(), path)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is not whole \(.*: export it again"):
        FileReader(path)
    path.write_text(whole)
    content = json.loads(path.read_text())
    del content["runs"][0]["tags"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is damaged: KeyError"):
        FileReader(path)
    with pytest.raises(UserError, match="cannot be written"):
        export_runs(grid, grid.cells(), tmp_path / "none" / "runs.json")
    with pytest.raises(UserError, match="nothing to export"):
        export_runs(grid, [], path)


def test_seeds_that_carry_nothing_are_said_by_column(reader: Reader, record: Record) -> None:
    scores = {
        ("mamba", 64): (90.0, 91.0, 92.0),
        ("s4", 64): (50.0, 51.0, 53.0),
        ("mamba", 256): (70.0, 60.0, 65.0),
    }
    scores["s4", 256] = (64.0, 71.0, 60.0)
    for (model, length), values in scores.items():
        for seed, value in enumerate(values):
            options = {"task.length": length}
            record(model, value, task="copying", metric="accuracy", seed=seed, options=options)
    (section,) = pivot(reader.cells(), Axes(("model",), "task.length"))
    assert section.notes[-1] == "Seeds do not carry that the best is ahead of the next in length=256."

    (turned,) = pivot(reader.cells(), Axes(("task.length",), "model"))  # models beside each other: by row
    assert [column.title for column in turned.columns] == ["task.length", "mamba", "s4"]
    assert turned.bold == {(0, "mean_0"), (1, "mean_0"), (1, "mean_1")}  # both have 65 at 256
    assert turned.notes[-1] == "Seeds do not carry that the best is ahead of the next in length=256."


def test_where_no_seeds_carry_anything_one_word_says_so(reader: Reader, record: Record) -> None:
    for length in (32, 64, 128, 256, 512):
        for model in ("mamba", "s4"):
            record(model, 90.0, task="copying", metric="accuracy", options={"task.length": length})
    for axes, told in ((Axes(("model",), "task.length"), "column"), (Axes(("task.length",), "model"), "row")):
        (section,) = pivot(reader.cells(), axes)
        assert section.notes[-1].endswith(f"the best is ahead of the next in any {told}.")


def test_a_family_of_metrics_makes_columns(reader: Reader, record: Record) -> None:
    further = {f"test/loss_by_position/{place}": 3.0 - place / 100 for place in (1, 16, 4)}
    record("mamba", 1.9, task="text", metrics=further)
    (section,) = pivot(reader.cells(), Axes(("model",), "set", "loss_by_position"))
    assert [column.title for column in section.columns] == ["model", "1", "4", "16"]
    assert section.rows[0]["mean_2"] == pytest.approx(2.84)
    with pytest.raises(UserError, match="No run has the metric 'loss_by_positon'"):
        pivot(reader.cells(), Axes(("model",), "set", "loss_by_positon"))

"""`seqsuite runs`, and what a name stands for, in a store with a few runs."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

from seqsuite.commands.runs import sparkline
from seqsuite.errors import UserError
from seqsuite.experiments.sources import find_run, has_sample, reads_text
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import RunHeader
from seqsuite.experiments.tracking.store import Point, Store, open_store

Seqsuite = Callable[..., Result]
EXPERIMENT = "runs"
TAGS = {schema.TAG_HIGHER_IS_BETTER: "true"}


def add(
    store: Store, cell: str, name: str, metric: str, params: dict[str, object], sample: Path | None = None
) -> str:
    header = RunHeader(
        cell_id=cell, group_id=cell, name=name, params=params, tags=TAGS | {schema.TAG_METRIC: metric}
    )
    run_id = store.start_cell(header)
    points = [Point(schema.TRAIN_LOSS, 3.0 - step, 1000 + step, step) for step in range(3)]
    summary = {schema.TEST + metric: 1.5, schema.TRAIN_SECONDS: 90.0}
    store.log_points(run_id, [*points, *(Point(key, value, 2000, 2) for key, value in summary.items())])
    if sample is not None:
        store.artifact(run_id, sample)
    store.finish(run_id, "FINISHED")
    return run_id


@pytest.fixture(scope="module")
def ids(shared_folder: Path) -> dict[str, str]:
    """Runs by a name of ours, the newest last."""
    sample = shared_folder / "sample.txt"
    sample.write_text("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = open_store(EXPERIMENT)
        return {
            "text": add(store, "a", "text-mamba", "bits_per_byte", {"model.d_model": 8}, sample),
            "dna": add(store, "b", "dna-mamba", "bits_per_base", {"model.d_model": 8}, sample),
            "first": add(store, "c", "copying", "accuracy", {"model.d_model": 8, "train.steps": 5}),
            "second": add(store, "d", "copying", "accuracy", {"model.d_model": 16, "train.steps": 5}),
            "again": add(store, "d", "copying", "accuracy", {"model.d_model": 16, "train.steps": 5}),
        }


@pytest.fixture
def store(ids: dict[str, str], shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(shared_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_store(EXPERIMENT)


def test_latest_is_the_newest_that_can_do_it(store: Store, ids: dict[str, str]) -> None:
    assert find_run(store, "latest").run_id == ids["again"]
    assert find_run(store, "latest", has_sample, "generates").run_id == ids["dna"]
    assert find_run(store, "latest", reads_text, "is of text").run_id == ids["text"]
    with pytest.raises(
        UserError, match="No finished run in experiment 'runs' is green; the newest is copying"
    ):
        find_run(store, "latest", lambda store, run: False, "is green")


def test_a_name_of_several_cells_is_refused_with_their_ids(store: Store, ids: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"2 cells .* are called 'copying'") as raised:
        find_run(store, "copying")
    for run, width in (("first", 8), ("again", 16)):
        assert f"{ids[run][:8]} (model.d_model={width})" in str(raised.value)
    assert ids["second"][:8] not in str(raised.value)
    assert find_run(store, ids["first"][:8]).run_id == ids["first"]
    assert find_run(store, "text-mamba").run_id == ids["text"]


def test_runs_are_listed_and_shown(seqsuite: Seqsuite, ids: dict[str, str]) -> None:
    listed = seqsuite("runs", "--experiment", EXPERIMENT)
    assert listed.exit_code == 0, listed.output
    assert [line.split()[0] for line in listed.output.splitlines()[1:]] == [
        ids[name][:8] for name in ("again", "second", "first", "dna", "text")
    ]
    assert "1.500 bits per byte" in listed.output
    shown = seqsuite("runs", "--experiment", EXPERIMENT, "show", "text-mamba")
    for part in ("model.d_model", "test/bits_per_byte", "█▅▁  3 → 1 at step 2", "sample.txt", "seqsuite"):
        assert part in shown.output
    refused = seqsuite("runs", "--experiment", EXPERIMENT, "show", "text-mambo")
    assert refused.exit_code == 2
    assert "Did you mean 'text-mamba'" in refused.output


@pytest.mark.parametrize(("columns", "told"), [("60", False), ("120", True)])
def test_a_narrow_terminal_has_names_and_no_times(
    seqsuite: Seqsuite, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, columns: str, told: bool
) -> None:
    monkeypatch.setattr("seqsuite.commands.runs.make_console", lambda: Console(width=int(columns)))
    head, *lines = seqsuite("runs", "--experiment", EXPERIMENT).output.splitlines()
    assert ("trained" in head) == told
    assert "name" in head
    assert any("text-mamba" in line for line in lines)
    assert any("1.500 bits per byte" in line for line in lines)


def test_a_failed_run_is_shown_with_its_reason(seqsuite: Seqsuite, store: Store) -> None:
    failed = open_store("failed")
    tags = TAGS | {schema.TAG_METRIC: "accuracy", schema.TAG_FAILURE: "ValueError in my_task.py, line 3: no."}
    run_id = failed.start_cell(RunHeader(cell_id="f", group_id="f", name="sunk", params={}, tags=tags))
    failed.finish(run_id, "FAILED")
    shown = seqsuite("runs", "--experiment", "failed", "show", "sunk")
    assert "It failed: ValueError in my_task.py, line 3: no." in shown.output.splitlines()


def test_two_runs_are_compared(seqsuite: Seqsuite, ids: dict[str, str]) -> None:
    shown = seqsuite("runs", "--experiment", EXPERIMENT, "diff", ids["first"], ids["second"]).output
    assert "model.d_model" in shown
    assert "train.steps" not in shown
    assert "test/accuracy" in shown
    pair = (ids["first"], ids["second"], "--experiment", EXPERIMENT)
    compared = seqsuite("results", "compare", *pair, "--figure", "curves.svg")
    assert compared.exit_code == 0, compared.output
    assert compared.stdout == shown
    assert compared.stderr == "The picture is in curves.svg.\n"
    told = json.loads(seqsuite("results", "compare", *pair, "--format", "json").stdout)
    assert [section["kind"] for section in told["sections"]] == ["settings", "metrics"]
    for row in told["sections"][1]["rows"]:
        if row["change"]:
            assert float(row["change"]) == pytest.approx(row["other_value"] - row["one_value"], rel=1e-3)
    assert any(row["change"] for row in told["sections"][1]["rows"])
    for names in (ids["first"],), ("latest", "nothing"):
        refused = seqsuite("results", "compare", *names, "--experiment", EXPERIMENT)
        assert refused.exit_code == 2
        assert refused.output.count("\n") == 1


def test_a_run_is_deleted_after_a_question(seqsuite: Seqsuite, store: Store) -> None:
    run = add(store, "e", "doomed", "accuracy", {})
    assert seqsuite("runs", "--experiment", EXPERIMENT, "delete", "doomed").exit_code == 1
    assert store.get(run).name == "doomed"
    assert [found.run_id for found in store.finished()].count(run) == 1
    gone = seqsuite("runs", "--experiment", EXPERIMENT, "delete", "doomed", "--yes")
    assert gone.exit_code == 0, gone.output
    assert [found.run_id for found in store.finished()].count(run) == 0


def test_sparklines_go_from_least_to_most() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, math.nan, 2]) == "▁ █"
    assert sparkline([5.0]) == "▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(n) for n in range(1000)], width=40)) == 40

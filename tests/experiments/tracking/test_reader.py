"""The quick way to read gives what MLflow gives, and leaves to MLflow what it does not know."""

import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import reader as reader_module
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import (
    DatabaseReader,
    StoreReader,
    only_run,
    open_database,
    open_reader,
)
from seqsuite.experiments.tracking.store import CellRun, open_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cells, one of another experiment's, one deleted, and a grid."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        store, other = open_store("mine"), open_store("other")
    for number, (experiment, kind) in enumerate(
        [(store, "cell"), (store, "cell"), (other, "cell"), (store, "grid"), (store, "cell")]
    ):
        run = store.client.create_run(
            experiment.experiment_id, run_name=f"run{number}", start_time=1000 + number
        )
        points = [(1, 10, 0.5), (2, 20, 0.4), (2, 30, 0.3), (0, 40, math.inf), (3, 50, math.nan)]
        store.client.log_batch(
            run.info.run_id,
            metrics=[Metric("loss", value, time, step) for step, time, value in points]
            + [Metric("nothing", math.nan, 1, 1)],
            params=[Param("task.name", "dna"), Param("seed", str(number))],
            tags=[RunTag(schema.TAG_KIND, kind)],
        )
        store.client.set_terminated(run.info.run_id, "FINISHED" if number else "KILLED")
    store.client.delete_run(run.info.run_id)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")


@pytest.mark.usefixtures("here")
def test_both_ways_give_the_same() -> None:
    quick, whole = open_reader("mine"), StoreReader(open_store("mine", create=False))
    assert isinstance(quick, DatabaseReader)
    assert [cell.name for cell in quick.cells()] == ["run1", "run0"]
    for ours, theirs in zip(quick.cells(), whole.cells(), strict=True):
        for attribute in ("run_id", "name", "status", "params", "tags", "start_time"):
            assert getattr(ours, attribute) == getattr(theirs, attribute)
        assert repr(sorted(ours.metrics.items())) == repr(sorted(theirs.metrics.items()))
        assert math.isnan(ours.metrics["loss"])
        assert repr(quick.get(ours.run_id)) == repr(ours)
        history = quick.history(ours.run_id, "loss")
        assert repr(history) == repr(whole.history(ours.run_id, "loss"))
        assert repr(history) == "[(0, inf), (1, 0.5), (2, 0.3), (3, nan)]"
        assert quick.history(ours.run_id, "unknown") == whole.history(ours.run_id, "unknown") == []


@pytest.mark.usefixtures("here")
def test_a_curve_costs_no_more_among_many_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[None] = []  # of SQLite's machine, ten at a time

    def open_counted(database: Path) -> closing[sqlite3.Connection]:
        opened = open_database(database)
        opened.thing.set_progress_handler(lambda: steps.append(None), 10)
        return opened

    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = ["mine", *(f"run {number}" for number in range(3000))]
        database.executemany(
            "INSERT INTO metrics VALUES ('of many', 0.5, 1, ?, 1, 0)", [(run,) for run in runs]
        )
    monkeypatch.setattr(reader_module, "open_database", open_counted)
    reader = open_reader("mine")
    steps.clear()
    assert reader.history("mine", "of many") == [(1, 0.5)]
    assert len(steps) < 300  # most of them for reading what tables there are


@pytest.mark.usefixtures("here")
def test_a_run_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="0123"):
        open_reader("mine").get("0123")


@pytest.mark.usefixtures("here")
def test_what_is_not_as_expected_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no experiment 'unknown'"):
        open_reader("unknown")
    monkeypatch.setattr(reader_module, "REVISIONS", {"another"})
    assert isinstance(open_reader("mine"), StoreReader)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/missing.db")
    with pytest.raises(UserError, match="no results yet"):
        open_reader("mine")
    (tmp_path / "not.db").write_text("nothing of the kind, but long enough to be looked into" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/not.db")
    with pytest.raises(UserError, match=r"not\.db cannot be read"):
        open_reader("mine")


@pytest.mark.usefixtures("here")
def test_a_database_that_breaks_while_it_is_read_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = open_reader("mine")

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(reader_module, "open_database", fail)
    with pytest.raises(UserError, match="cannot be read: database is locked"):
        reader.cells()


@pytest.mark.usefixtures("here")
def test_reading_imports_neither_mlflow_nor_torch() -> None:
    code = (
        "import sys; from seqsuite.experiments.tracking.reader import open_reader; "
        "print(len(open_reader('mine').cells())); print({'mlflow', 'sqlalchemy', 'torch'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "2\nset()\n"


def test_mlflows_tables_are_of_a_version_that_is_known(folder: Path) -> None:
    """After an update of MLflow, look whether its tables are still read rightly, and add its revision."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        revisions = {revision for (revision,) in database.execute("SELECT version_num FROM alembic_version")}
    assert revisions <= reader_module.REVISIONS


def cell_run(number: int, name: str = "it", **params: str) -> CellRun:
    return CellRun(f"{number}23456789abc", name, "FINISHED", params, {}, {}, 0.0)


def test_of_runs_with_one_name_a_few_are_listed() -> None:
    runs = [cell_run(n, seed=str(n), task="dna", **{"run.name": str(n)}) for n in range(6)]
    assert only_run("e", [], "it") is None
    assert only_run("e", runs[:1], "it") is runs[0]
    assert only_run("e", runs, "323") is runs[3]
    two = "'it': say which by the id of its run, 02345678 (seed=0), 12345678 (seed=1)."
    with pytest.raises(UserError) as raised:
        only_run("e", runs[:2], "it")
    assert str(raised.value) == f"2 cells in experiment 'e' are called {two}"
    with pytest.raises(UserError, match=r"42345678 \(seed=4\)\.$"):
        only_run("e", runs[:5], "it")
    with pytest.raises(UserError, match=r"^6 cells .* 42345678 \(seed=4\), …\.$"):
        only_run("e", runs, "it")


def test_of_ids_with_one_beginning_each_is_listed_with_its_name() -> None:
    runs = [cell_run(n, f"run{n}", seed=str(n)) for n in (1, 10, 11)]
    assert only_run("e", runs, "11") is runs[2]
    with pytest.raises(UserError) as raised:
        only_run("e", runs, "1")
    told = "give more of it, 12345678 (run1), 10234567 (run10), 11234567 (run11)."
    assert str(raised.value) == f"3 runs in experiment 'e' have an id that begins with '1': {told}"


def test_of_values_at_one_step_the_last_in_time_counts() -> None:
    points = [(2, 9, 5.0), (2, 3, 6.0), (1, 7, 2.0), (1, 7, 1.0), (3, 1, 1e308), (4, 1, 1.7e308)]
    client = SimpleNamespace(
        get_metric_history=lambda run_id, metric: [
            SimpleNamespace(step=step, timestamp=time, value=value) for step, time, value in points
        ]
    )
    store: Any = SimpleNamespace(experiment="e", client=client)
    assert StoreReader(store).history("r", "loss") == [(1, 1.0), (2, 5.0), (3, 1e308), (4, math.inf)]

"""Reading recorded runs, fast where the store is a SQLite database of the MLflow that is installed.

MLflow takes two seconds to import and builds an object for every parameter: a table of a thousand runs would
take six seconds. Its database says the same in a tenth of one. Whatever is not as expected (a server, another
database, another version's tables, no such experiment) is left to MLflow.
"""

import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.connection import store_errors
from seqsuite.experiments.tracking.store import CellRun, Store, open_store

REVISIONS = {"dc11669786a5"}
"""Versions of MLflow's tables that are known here, as Alembic names them: those of MLflow 3.17."""
_CHUNK = 500
_NAMES = 5  # runs to name where several are meant
LARGEST = 1e308
"""MLflow's databases store infinity as the largest float."""

Points = list[tuple[int, float]]
"""Steps and values, by step."""


class Reader(Protocol):
    """What tables and figures need of a store."""

    experiment: str

    def cells(self) -> list[CellRun]:
        """Return all runs of cells, whatever their status, newest first."""

    def get(self, run_id: str) -> CellRun:
        """Return one run; raises :class:`~seqsuite.errors.UserError` if there is none."""

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step; of several values at one step, as a resumed run has, the last."""


class JoinedReader:
    """Several stores or files of runs, read as one; its experiment is that of the first."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.experiment = readers[0].experiment
        self._readers = tuple(readers)

    def cells(self) -> list[CellRun]:
        """Return all runs, newest first, each once."""
        runs = {run.run_id: run for reader in self._readers for run in reader.cells()}
        return sorted(runs.values(), key=lambda run: run.start_time, reverse=True)

    def get(self, run_id: str) -> CellRun:
        """Return one run; raises :class:`~seqsuite.errors.UserError` if there is none."""
        return self._reader_of(run_id).get(run_id)

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step."""
        return self._reader_of(run_id).history(run_id, metric)

    def _reader_of(self, run_id: str) -> Reader:
        return self._owners.get(run_id, self._readers[-1])

    @cached_property
    def _owners(self) -> dict[str, Reader]:
        return {run.run_id: reader for reader in self._readers for run in reader.cells()}


def open_reader(experiment: str = "seqsuite") -> Reader:
    """Open the store that ``MLFLOW_TRACKING_URI`` names, or else ``mlflow.db`` here, for reading.

    Raises:
        UserError: if it cannot be read, or has no such experiment.
    """
    database = _database()
    if database is not None:
        try:
            found = _experiment_id(database, experiment)
        except sqlite3.Error:
            found = None  # MLflow's own error says more
        if found is not None:
            return DatabaseReader(database, found, experiment)
    return StoreReader(open_store(experiment, create=False))


def only_run(experiment: str, runs: Sequence[CellRun], name: str) -> CellRun | None:
    """Return the newest of the runs that a name or the beginning of an id stands for, or ``None``.

    Raises:
        UserError: if they are of several cells; they are listed by id, with the settings that differ, or by
            their names where these are not the same.
    """
    named = [run for run in runs if run.name == name]
    matching = named or [run for run in runs if run.run_id.startswith(name)]
    newest = {run.tags.get(schema.TAG_CELL, run.run_id): run for run in reversed(matching)}
    cells = list(reversed(newest.values()))
    if len(cells) < 2:
        return cells[0] if cells else None
    more = ", …" if len(cells) > _NAMES else ""
    if not named:
        told = [f"{run.run_id[:8]} ({run.name})" for run in cells[:_NAMES]]
        raise UserError(
            f"{len(cells)} runs in experiment {experiment!r} have an id that begins with {name!r}: give more "
            f"of it, {', '.join(told)}{more}."
        )
    told = [f"{run.run_id[:8]} ({_differing(run, cells)})" for run in cells[:_NAMES]]
    raise UserError(
        f"{len(cells)} cells in experiment {experiment!r} are called {name!r}: say which by the id of "
        f"its run, {', '.join(told)}{more}."
    )


def _differing(run: CellRun, others: Sequence[CellRun]) -> str:
    """Return the settings of a run in which it differs from some other, as ``key=value``."""
    keys = {key for other in others for key in other.params if not key.startswith("run.")}
    differing = [key for key in sorted(keys) if len({other.params.get(key) for other in others}) > 1]
    return ", ".join(f"{key}={run.params[key]}" for key in differing if key in run.params) or run.name


class StoreReader:
    """Reads through MLflow."""

    def __init__(self, store: Store) -> None:
        self.experiment = store.experiment
        self._store = store

    def cells(self) -> list[CellRun]:
        """Return all runs of cells, newest first."""
        return self._store.search(f"tags.`{schema.TAG_KIND}` = 'cell'")

    def get(self, run_id: str) -> CellRun:
        """Return one run."""
        return self._store.get(run_id)

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step."""
        with store_errors(f"Cannot read run {run_id!r}"):
            points = self._store.client.get_metric_history(run_id, metric)
        return _last_by_step((point.step, point.timestamp, point.value) for point in points)


class DatabaseReader:
    """Reads MLflow's SQLite database itself, in short transactions that hold no writer up."""

    def __init__(self, database: Path, experiment_id: int, experiment: str) -> None:
        self.experiment = experiment
        self._database = database
        self._experiment_id = experiment_id

    def cells(self) -> list[CellRun]:
        """Return all runs of cells, newest first."""
        rows = self._query(
            "SELECT run_uuid, name, status, start_time FROM runs WHERE experiment_id = ? "
            "AND lifecycle_stage = 'active' ORDER BY start_time DESC, run_uuid",
            [self._experiment_id],
        )
        runs = self._complete(rows)
        return [run for run in runs if run.tags.get(schema.TAG_KIND) == "cell"]

    def get(self, run_id: str) -> CellRun:
        """Return one run."""
        rows = self._query("SELECT run_uuid, name, status, start_time FROM runs WHERE run_uuid = ?", [run_id])
        if not rows:
            return StoreReader(open_store(self.experiment, create=False)).get(run_id)  # raises its sentence
        return self._complete(rows)[0]

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step."""
        # By its index SQLite would look through that metric of all runs; `+` keeps it to those of this run.
        rows = self._query(
            "SELECT step, timestamp, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
            "WHERE run_uuid = ? AND +key = ?",
            [run_id, metric],
        )
        return _last_by_step((step, time, math.nan if value is None else value) for step, time, value in rows)

    def _complete(self, rows: Sequence[tuple[Any, ...]]) -> list[CellRun]:
        ids = [row[0] for row in rows]
        params, tags = self._values("params", "value", ids), self._values("tags", "value", ids)
        value = "CASE WHEN is_nan THEN NULL ELSE value END"
        metrics = {
            run_id: {key: math.nan if number is None else number for key, number in found.items()}
            for run_id, found in self._values("latest_metrics", value, ids).items()
        }
        return [
            CellRun(run_id, name, status, params[run_id], metrics.get(run_id, {}), tags[run_id], start / 1000)
            for run_id, name, status, start in rows
        ]

    def _values(self, table: str, value: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN ({marks})"
            for run_id, key, content in self._query(query, chunk):
                found[run_id][key] = content
        return found

    def _query(self, query: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with open_database(self._database) as connection:
                return connection.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise UserError(f"The results database {self._database} cannot be read: {error}.") from error


def _last_by_step(points: Iterable[tuple[int, int, float]]) -> Points:
    by_step = {step: value for step, _, value in sorted(points, key=lambda point: point[:2])}
    return [(step, math.inf if value > LARGEST else value) for step, value in by_step.items()]


def open_database(database: Path) -> closing[sqlite3.Connection]:
    """Return a connection that only reads, and waits 20 s where another process writes."""
    return closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20))


def _database() -> Path | None:
    """Return the SQLite database that is the store, or ``None`` for any other kind."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, found, name = uri.partition(":///")
    path = Path(name).absolute()
    return path if found and scheme == "sqlite" and "?" not in name and path.is_file() else None


def _experiment_id(database: Path, experiment: str) -> int | None:
    """Return the id of a live experiment, if the tables are of a version that is known here."""
    with open_database(database) as connection:
        revisions = {
            revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")
        }
        if not revisions <= REVISIONS:
            return None
        query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
        found = connection.execute(query, [experiment]).fetchone()
        return int(found[0]) if found else None

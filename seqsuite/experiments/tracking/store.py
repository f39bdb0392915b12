"""Everything that is written to MLflow: one cell of a grid is one MLflow run."""

import json
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import seqsuite
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.connection import connect, impatient, shown, store_errors
from seqsuite.experiments.tracking.processes import process_identity
from seqsuite.experiments.tracking.schema import (
    TAG_CELL,
    TAG_GROUP,
    TAG_HOST,
    TAG_KIND,
    TAG_PROCESS,
    TAG_VERSION,
    FinalStatus,
    RunStatus,
)

FLUSH_SECONDS = 2.0
MAX_METRICS_PER_CALL = 1000  # MLflow's own limits on log_batch
MAX_PARAMS_PER_CALL = 100
MAX_TAGS_PER_CALL = 100


@dataclass(frozen=True)
class CellRun:
    """One recorded run of a cell; ``metrics`` holds the last value of each metric."""

    run_id: str
    name: str
    status: RunStatus
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    start_time: float


def open_store(experiment: str = "seqsuite", *, create: bool = True) -> "Store":
    """Open the MLflow store, creating its database and the experiment if they are missing.

    The store is the one that ``MLFLOW_TRACKING_URI`` names, or else ``mlflow.db`` (SQLite) in the working
    folder with the artifacts in ``mlruns`` beside it. A grid's parent process opens the store before its
    workers do.

    Args:
        experiment: Name of the MLflow experiment.
        create: If false, nothing is created, and a store or experiment that does not exist is an error.

    Raises:
        UserError: within about five seconds, if the store cannot be reached, read or (with ``create``)
            written.
    """
    connection = connect(experiment, create=create)
    return Store(connection.uri, connection.experiment_id, experiment, connection.client)


def _process_tags() -> dict[str, str]:
    return {TAG_HOST: socket.gethostname(), TAG_PROCESS: process_identity(os.getpid()) or str(os.getpid())}


class Store:
    """A connection to one experiment; open it with :func:`open_store`, once in each process.

    Attributes:
        uri: Address of the tracking store, absolute if it is a file.
        experiment_id: MLflow's id of the experiment.
        experiment: Its name.
        client: The ``MlflowClient``, for reading.
    """

    def __init__(self, uri: str, experiment_id: str, experiment: str, client: Any) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.experiment = experiment
        self.client = client

    def search(self, condition: str) -> list[CellRun]:
        """Return the runs that meet an MLflow filter (``attributes.status = 'RUNNING'``), newest first."""
        runs: list[CellRun] = []
        token = None
        with store_errors(f"Cannot read the MLflow store {shown(self.uri)}"):
            while True:
                page = self.client.search_runs(
                    [self.experiment_id],
                    condition,
                    max_results=1000,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
                runs += [_cell_run(run) for run in page]
                token = page.token
                if not token:
                    return runs

    def get(self, run_id: str) -> CellRun:
        """Return one run.

        Raises:
            UserError: if the store has no such run.
        """
        with store_errors(f"Cannot read run {run_id!r}"):
            return _cell_run(self.client.get_run(run_id))

    def finished(self) -> list[CellRun]:
        """Return the finished runs of cells, newest first."""
        return self.search(f"tags.`{TAG_KIND}` = 'cell' and attributes.status = 'FINISHED'")

    def find_cell(self, cell_id: str) -> CellRun | None:
        """Return the newest run of the cell, whatever its status, or ``None``."""
        runs = self.search(f"tags.`{TAG_CELL}` = '{cell_id}'")
        return runs[0] if runs else None

    def start_grid(self, name: str, params: Mapping[str, object]) -> str:
        """Start the parent run of a grid and return its id; end it with :meth:`finish`."""
        return self._create(name, params, {TAG_KIND: "grid"})

    def start_cell(
        self,
        *,
        cell_id: str,
        group_id: str,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent_run_id: str | None = None,
        resume_run_id: str | None = None,
    ) -> "CellLogger":
        """Start the run of a cell, or go on with ``resume_run_id``.

        Args:
            cell_id: Hash of the resolved configuration.
            group_id: Hash of the configuration without its seed.
            name: The run's name in MLflow's pages.
            params: The resolved configuration, nested or with dotted keys. A value that a resumed run already
                has is kept: MLflow writes a parameter once.
            tags: The task, model, scale, metric and so on, by this module's ``TAG_…`` names.
            parent_run_id: Run of the grid that the cell belongs to.
            resume_run_id: Run to continue, as found by :meth:`find_cell`.

        Raises:
            UserError: if the store cannot be written.
        """
        all_tags = {**tags, TAG_KIND: "cell", TAG_CELL: cell_id, TAG_GROUP: group_id}
        if parent_run_id is not None:
            all_tags["mlflow.parentRunId"] = parent_run_id
        if resume_run_id is None:
            return CellLogger(self, self._create(name, params, all_tags))
        known = self.get(resume_run_id).params
        with self.errors():
            self.client.update_run(resume_run_id, status="RUNNING", name=name)
        new_params = {key: value for key, value in flatten(params).items() if key not in known}
        self.log_batch(resume_run_id, params=new_params, tags=all_tags | _process_tags())
        return CellLogger(self, resume_run_id)

    def finish(self, run_id: str, status: FinalStatus) -> None:
        """End a run."""
        with self.errors():
            self.client.set_terminated(run_id, status)

    def metrics(self, run_id: str, values: Mapping[str, float]) -> None:
        """Record values with a run, ended or not."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with self.errors():
            self.client.log_batch(
                run_id, metrics=[Metric(key, value, now, 0) for key, value in values.items()]
            )

    def artifact(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Store a file with a run, ended or not, in ``folder`` of its artifacts."""
        with self.errors():
            self.client.log_artifact(run_id, str(path), folder)

    def reap_stale(self) -> int:
        """Mark as KILLED the RUNNING runs that processes of this machine left behind; return how many."""
        mine = f"tags.`{TAG_HOST}` = '{socket.gethostname()}'"
        stale = [
            run
            for run in self.search(f"attributes.status = 'RUNNING' and {mine}")
            if process_identity(int(run.tags[TAG_PROCESS].split()[0])) != run.tags[TAG_PROCESS]
        ]
        for run in stale:
            self.finish(run.run_id, "KILLED")
        return len(stale)

    def model_folder(self, run_id: str, destination: Path) -> Path:
        """Copy the last model that a run published into ``destination`` and return the folder.

        Raises:
            UserError: if the run has published none.
        """
        from mlflow.artifacts import download_artifacts

        with store_errors(f"Cannot read the model of run {run_id!r}"):
            outputs = self.client.get_run(run_id).outputs
            if outputs is None or not outputs.model_outputs:
                raise UserError(
                    f"Run {run_id!r} has no model: it did not get as far as its first checkpoint."
                )
            models = [self.client.get_logged_model(output.model_id) for output in outputs.model_outputs]
            newest = max(models, key=lambda model: int(model.creation_timestamp))
            folder = download_artifacts(
                artifact_uri=newest.artifact_location, dst_path=str(destination), tracking_uri=self.uri
            )
        return Path(folder)

    def errors(self) -> AbstractContextManager[None]:
        """Return a context that turns failures to write into :class:`~seqsuite.errors.UserError`."""
        return store_errors(f"Cannot write to the MLflow store {shown(self.uri)}")

    def log_batch(
        self, run_id: str, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Write parameters and tags in calls of legal size."""
        from mlflow.entities import Param, RunTag

        all_params = [Param(key, value) for key, value in (params or {}).items()]
        all_tags = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        with self.errors():
            for start in range(0, len(all_params), MAX_PARAMS_PER_CALL):
                self.client.log_batch(run_id, params=all_params[start : start + MAX_PARAMS_PER_CALL])
            for start in range(0, len(all_tags), MAX_TAGS_PER_CALL):
                self.client.log_batch(run_id, tags=all_tags[start : start + MAX_TAGS_PER_CALL])

    def _create(self, name: str, params: Mapping[str, object], tags: Mapping[str, str]) -> str:
        all_tags = {
            TAG_VERSION: seqsuite.__version__,
            "mlflow.source.name": "seqsuite",
            **{key: str(value) for key, value in tags.items()},
            **_process_tags(),
        }
        with self.errors():
            run = self.client.create_run(self.experiment_id, tags=all_tags, run_name=name)
        self.log_batch(run.info.run_id, params=flatten(params))
        return str(run.info.run_id)


class CellLogger:
    """Writes one cell's run. As a context manager it ends the run by how the block ends.

    Left normally the run is FINISHED, by an interrupt KILLED, by any other exception FAILED. The first
    :meth:`finish` counts and later ones do nothing, so that no run is FINISHED after an interrupt.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self._store = store
        self._buffer: list[Any] = []
        self._time = 0
        self._flushed = time.monotonic()
        self._open = True

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record values at a step. They are written about every two seconds, and by :meth:`finish`."""
        from mlflow.entities import Metric

        # Of two values at one step MLflow calls the later one the last, so no two calls share a millisecond.
        self._time = now = max(int(time.time() * 1000), self._time + 1)
        self._buffer += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        if len(self._buffer) >= MAX_METRICS_PER_CALL or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what :meth:`log` holds back."""
        while self._buffer:
            batch = self._buffer[:MAX_METRICS_PER_CALL]
            with self._store.errors():
                self._store.client.log_batch(self.run_id, metrics=batch)
            # Only now: an interrupt in the call leaves the values to be written again, which MLflow allows.
            del self._buffer[: len(batch)]
        self._flushed = time.monotonic()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file with the run, in ``folder`` of its artifacts."""
        self._store.artifact(self.run_id, path, folder)

    def model(self, folder: Path, *, name: str, params: Mapping[str, str]) -> None:
        """Publish the files in ``folder`` (``model.safetensors``, ``config.json``) as the run's model."""
        from mlflow.entities import LoggedModelOutput

        client = self._store.client
        with self._store.errors():
            model = client.create_logged_model(
                self._store.experiment_id,
                name=re.sub(r"[/:.%\"']", "_", name),  # which MLflow forbids
                source_run_id=self.run_id,
                params=dict(params),
                model_type="seqsuite",
            )
            client.log_model_artifacts(model.model_id, str(folder))
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step=0)])

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags on the run."""
        self._store.log_batch(self.run_id, tags=tags)

    def finish(self, status: FinalStatus) -> None:
        """Write what is held back and end the run."""
        if not self._open:
            return
        self._open = False
        try:
            self.flush()
        except UserError:
            with impatient():
                self._store.finish(self.run_id, "FAILED")
            raise
        self._store.finish(self.run_id, status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("FAILED" if issubclass(kind, Exception) else "KILLED")


def flatten(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings with dotted keys; values are strings as they are, and JSON otherwise."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _cell_run(run: Any) -> CellRun:
    return CellRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
        start_time=run.info.start_time / 1000,
    )

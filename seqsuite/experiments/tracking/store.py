"""Everything that is written to MLflow and read from it: one cell of a grid is one MLflow run."""

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import seqsuite
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.addresses import shown_uri
from seqsuite.experiments.tracking.connection import connect, reconnect, store_errors
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.processes import is_alive, machine_identity, process_tags
from seqsuite.experiments.tracking.schema import (
    TAG_CELL,
    TAG_DATA,
    TAG_GROUP,
    TAG_HOST,
    TAG_JOURNAL,
    TAG_KIND,
    TAG_MACHINE,
    TAG_NOTE,
    TAG_PROCESS,
    TAG_TASK,
    TAG_VERSION,
    FinalStatus,
    RunStatus,
)

MAX_METRICS_PER_CALL = 1000  # MLflow's own limits on log_batch
MAX_PARAMS_PER_CALL = 100
MAX_TAGS_PER_CALL = 100
_LONGEST_DIGEST = 36


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


class Point(NamedTuple):
    """A metric's value at a step; ``time`` is in milliseconds since 1970."""

    key: str
    value: float
    time: int
    step: int


def open_store(experiment: str = "seqsuite", *, create: bool = True) -> "Store":
    """Open the MLflow store, creating its database and the experiment if they are missing.

    The store is the one that ``MLFLOW_TRACKING_URI`` names, or else ``mlflow.db`` (SQLite) in the working
    folder with the artifacts in ``mlruns`` beside it. A grid's parent process opens the store before its
    workers do.

    Args:
        experiment: Name of the MLflow experiment.
        create: If false, nothing is created, and a store or experiment that does not exist is an error.

    Raises:
        UserError: within about ten seconds, if the store cannot be reached, read or (with ``create``)
            written.
    """
    connection = connect(experiment, create=create)
    return Store(connection.uri, connection.experiment_id, experiment, connection.client)


def reopen_store(uri: str, experiment_id: str, experiment: str) -> "Store":
    """Open a store that another process has opened and initialised, as it is described by its attributes.

    Whether it can be reached is found when it is used: a worker starts while a server is away.
    """
    return Store(uri, experiment_id, experiment, reconnect(uri))


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
        with self._reading(f"the MLflow store {shown_uri(self.uri)}"):
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
        with self._reading(f"run {run_id!r}"):
            return _cell_run(self.client.get_run(run_id))

    def finished(self) -> list[CellRun]:
        """Return the finished runs of cells, newest first."""
        return self.search(f"tags.`{TAG_KIND}` = 'cell' and attributes.status = 'FINISHED'")

    def find_cell(self, cell_id: str) -> CellRun | None:
        """Return the cell's finished run, or else its newest, whatever its status, or ``None``.

        A clock may have been set back, so no start is so new that it undoes a finished run.
        """
        runs = self.search(f"tags.`{TAG_CELL}` = '{cell_id}'")
        return next((run for run in runs if run.status == "FINISHED"), runs[0] if runs else None)

    def find_journal(self, journal: str) -> str | None:
        """Return the id of the run that was created for a journal, or ``None``."""
        runs = self.search(f"tags.`{TAG_JOURNAL}` = '{journal}'")
        return runs[-1].run_id if runs else None

    def has_run(self, run_id: str) -> bool:
        """Return whether the experiment has a run that can be written to: not one that was deleted."""
        from mlflow.exceptions import MlflowException

        with self._reading(f"run {run_id!r}"):
            try:
                info = self.client.get_run(run_id).info
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return False
                raise
            return bool(info.lifecycle_stage == "active" and info.experiment_id == self.experiment_id)

    def last_steps(self, run_id: str) -> dict[str, int]:
        """Return the last step of each metric that a run has."""
        with self._reading(f"run {run_id!r}"):
            keys = self.client.get_run(run_id).data.metrics
            histories = {key: self.client.get_metric_history(run_id, key) for key in keys}
        return {key: max(point.step for point in points) for key, points in histories.items()}

    def start_grid(self, name: str, params: Mapping[str, object]) -> str:
        """Start the parent run of a grid and return its id; end it with :meth:`finish`."""
        return self._create(name, params, {TAG_KIND: "grid", **process_tags()})

    def start_benchmark(self, name: str, params: Mapping[str, object], note: str) -> str:
        """Start the run of a benchmark, with a description in Markdown; return its id, for :meth:`finish`."""
        return self._create(name, params, {TAG_KIND: "benchmark", TAG_NOTE: note, **process_tags()})

    def start_cell(
        self,
        header: RunHeader,
        resume_run_id: str | None = None,
        *,
        at: int | None = None,
        journal: str | None = None,
    ) -> str:
        """Start the run of a cell, or go on with ``resume_run_id``; return its id.

        Doing it again with the run's id changes nothing. A parameter that the run already has is kept: MLflow
        writes a parameter once.

        Args:
            header: What the run is of.
            resume_run_id: Run to continue, as found by :meth:`find_cell`.
            at: When it started, in milliseconds since 1970; by default now.
            journal: Identity of the journal it is sent from, for :meth:`find_journal`.

        Raises:
            UserError: if the store cannot be written.
        """
        tags = {
            **process_tags(),
            **header.tags,
            TAG_KIND: "cell",
            TAG_CELL: header.cell_id,
            TAG_GROUP: header.group_id,
        }
        if journal is not None:
            tags[TAG_JOURNAL] = journal
        if header.parent_run_id is not None:
            tags["mlflow.parentRunId"] = header.parent_run_id
        if resume_run_id is None:
            resume_run_id = self._create(header.name, header.params, tags, at)
        else:
            known = self.get(resume_run_id).params
            with self.errors():
                self.client.update_run(resume_run_id, status="RUNNING", name=header.name)
            new = {key: value for key, value in flatten(header.params).items() if key not in known}
            self.log_batch(resume_run_id, params=new, tags=tags)
        self._input(resume_run_id, header)
        return resume_run_id

    def finish(self, run_id: str, status: FinalStatus, *, at: int | None = None) -> None:
        """End a run, now or ``at`` a time in milliseconds since 1970."""
        with self.errors():
            self.client.set_terminated(run_id, status, end_time=at)

    def metrics(self, run_id: str, values: Mapping[str, float]) -> None:
        """Record values with a run at step 0, ended or not."""
        now = int(time.time() * 1000)
        self.log_points(run_id, [Point(key, value, now, 0) for key, value in values.items()])

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Record values with a run; the same point again is stored once."""
        from mlflow.entities import Metric

        with self.errors():
            for start in range(0, len(points), MAX_METRICS_PER_CALL):
                part = [Metric(*point) for point in points[start : start + MAX_METRICS_PER_CALL]]
                self.client.log_batch(run_id, metrics=part)

    def artifact(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Store a file with a run, ended or not, in ``folder`` of its artifacts."""
        with self.errors():
            self.client.log_artifact(run_id, str(path), folder)

    def publish_model(self, run_id: str, folder: Path, *, name: str, params: Mapping[str, str]) -> None:
        """Publish the files in ``folder`` as the run's model; doing it again changes nothing."""
        from mlflow.entities import LoggedModelOutput

        client = self.client
        with self.errors():
            outputs = client.get_run(run_id).outputs
            published = {output.model_id for output in (outputs.model_outputs if outputs else ())}
            name = re.sub(r"[/:.%\"']", "_", name)  # which MLflow forbids
            same = [model for model in self._models(run_id) if model.name == name]
            model = (
                same[0]
                if same
                else client.create_logged_model(
                    self.experiment_id,
                    name=name,
                    source_run_id=run_id,
                    params=dict(params),
                    model_type="seqsuite",
                )
            )
            if model.model_id in published:
                return
            client.log_model_artifacts(model.model_id, str(folder))
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])

    def _models(self, run_id: str) -> list[Any]:
        """Return the models that a run began to publish."""
        return list(
            self.client.search_logged_models(
                [self.experiment_id], filter_string=f"source_run_id = '{run_id}'"
            )
        )

    def reap_stale(self) -> int:
        """Mark as KILLED the RUNNING runs that processes of this machine left behind; return how many.

        The machine is known by this boot of it, or by its host name: either may have changed.
        """
        host, machine = socket.gethostname(), machine_identity()
        stale = [
            run
            for run in self.search("attributes.status = 'RUNNING'")
            if (run.tags.get(TAG_HOST) == host or run.tags.get(TAG_MACHINE) == machine)
            and not is_alive(run.tags.get(TAG_PROCESS, ""))
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

        with self._reading(f"the model of run {run_id!r}"):
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
        return store_errors(f"Cannot write to the MLflow store {shown_uri(self.uri)}", self.uri)

    def _reading(self, what: str) -> AbstractContextManager[None]:
        return store_errors(f"Cannot read {what}", self.uri)

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

    def _create(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], at: int | None = None
    ) -> str:
        all_tags = {
            TAG_VERSION: seqsuite.__version__,
            "mlflow.source.name": "seqsuite",
            **{key: str(value) for key, value in tags.items()},
        }
        with self.errors():
            run = self.client.create_run(self.experiment_id, start_time=at, tags=all_tags, run_name=name)
        self.log_batch(run.info.run_id, params=flatten(params))
        return str(run.info.run_id)

    def _input(self, run_id: str, header: RunHeader) -> None:
        """Record the data that a run reads, by its fingerprint."""
        from mlflow.entities import Dataset, DatasetInput

        if TAG_DATA not in header.tags:
            return
        name = header.tags.get(TAG_TASK, "data")
        digest = header.tags[TAG_DATA][:_LONGEST_DIGEST] or "generated"
        source = json.dumps(header.params.get("task"), default=str)
        with self.errors():
            data = Dataset(name=name, digest=digest, source_type="seqsuite", source=source)
            self.client.log_inputs(run_id, [DatasetInput(data)])


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

"""Finding, checking and connecting to the MLflow store.

MLflow retries a missing server or folder for minutes, and takes seconds to import: what can be checked first
is, and it is imported when a store is opened. It is told not to retry: the uploader does, and whoever waits
for a command wants to know.
"""

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.addresses import shown_uri, without_secrets

_LIBRARIES = ("mlflow", "sqlalchemy", "requests", "urllib3", "databricks")
_UNUSED = "Default"  # MLflow makes it with each store
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds for a connection, and for each answer
}


class MissingExperimentError(UserError):
    """There is no such experiment; ``others`` are those that there are, the latest first."""

    def __init__(self, message: str, others: Sequence[str]) -> None:
        super().__init__(message)
        self.others = tuple(others)


class Connection(NamedTuple):
    """An MLflow client for one experiment of the tracking store at ``uri``."""

    uri: str
    experiment_id: str
    client: Any


def connect(experiment: str, *, create: bool) -> Connection:
    """Find the store, check that it can be used, and connect; see :func:`.tracking.open_store`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith("sqlite:"):
        database = _sqlite_path(uri)
        if not create and not database.exists():
            raise UserError(
                f"There are no results yet: {database} does not exist; start with "
                "`seqsuite run task=dna model=mamba`, or go to the folder where you ran it."
            )
        uri = f"sqlite:///{database}"
        _check_sqlite(database, write=create)
        with FileLock(f"{database}.lock") if create else nullcontext():
            return _connect(uri, experiment, (database.parent / "mlruns").as_uri(), create)
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI={shown_uri(uri)} names a folder, which MLflow no longer writes to; use a "
            "database such as sqlite:///mlflow.db, or the address of a server."
        )
    if uri.startswith("databricks") and "@" in uri:
        raise UserError(
            f"MLFLOW_TRACKING_URI={shown_uri(uri)} names no profile of Databricks: write databricks or "
            "databricks://PROFILE, and set DATABRICKS_HOST and DATABRICKS_TOKEN if there is no profile."
        )
    if not uri.startswith(("http://", "https://", "databricks")):
        _check_database(uri)
    return _connect(uri, experiment, None, create)


def reconnect(uri: str) -> Any:
    """Return a client of a store that is initialised already, without asking it anything.

    Raises:
        UserError: if MLflow refuses the address.
    """
    with store_errors(f"Cannot use the MLflow store {shown_uri(uri)}", uri):
        return _client(uri)


def _connect(uri: str, experiment: str, artifacts: str | None, create: bool) -> Connection:
    with store_errors(f"Cannot use the MLflow store {shown_uri(uri)}", uri):
        client = _client(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None and not create:
            known = client.search_experiments(order_by=["last_update_time DESC"])
            raise MissingExperimentError(
                f"There are no results yet in {shown_uri(uri)}: it has no experiment {experiment!r}.",
                [other.name for other in known if other.name != _UNUSED],
            )
        if found is None:
            found = client.get_experiment(_create_experiment(client, experiment, artifacts))
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"The experiment {experiment!r} in {shown_uri(uri)} is deleted: bring it back with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`."
        )
    return Connection(uri, str(found.experiment_id), client)


def _create_experiment(client: Any, experiment: str, artifacts: str | None) -> str:
    try:
        return str(client.create_experiment(experiment, artifact_location=artifacts))
    except Exception:
        # On a server another client may have been first.
        if (found := client.get_experiment_by_name(experiment)) is None:
            raise
        return str(found.experiment_id)


def _client(uri: str) -> Any:
    """Import MLflow, quietly, and return its client."""
    # Telemetry is read at import. The others keep migrations, uploads and links off a progress bar.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        # MLflow 3.17's SQL models use a loader option that SQLAlchemy 2.1 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient

        # Where something else imported MLflow first, it did not see the level.
        logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
        # It prints the traceback of what `store_errors` tells in a sentence.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def store_errors(what: str, uri: str = "") -> Iterator[None]:
    """Turn MLflow's errors into one sentence that starts with ``what`` and shows no secret of ``uri``."""
    try:
        yield
    except UserError:
        raise
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"{what}: {_short(error, uri)}") from error
    except Exception as error:
        if not type(error).__module__.startswith(_LIBRARIES):
            raise
        raise UserError(f"{what}: {_short(error, uri)}") from error


def _short(error: Exception, uri: str) -> str:
    """Return the part of an error's message that a user can act on."""
    text = " ".join(str(error).split())
    if "Max retries exceeded" in text or "Connection" in text or "timed out" in text:
        return "no server answers there; start it, or correct MLFLOW_TRACKING_URI."
    if "readonly database" in text:
        return "it is read-only; let yourself write to it, or copy it to another folder."
    text = without_secrets(text.partition(" [SQL: ")[0], uri)
    return text if len(text) <= 300 else text[:299] + "…"


def _sqlite_path(uri: str) -> Path:
    """Return the absolute path of a ``sqlite:`` address (three slashes relative, four absolute)."""
    name = uri.partition(":///")[2].partition("?")[0]
    if not name or ":memory:" in name:
        raise UserError(
            f"MLFLOW_TRACKING_URI={shown_uri(uri)} names no file: write sqlite:///folder/mlflow.db."
        )
    return Path(name).absolute()


def _check_sqlite(database: Path, write: bool) -> None:
    """Find out at once what MLflow would find out after minutes of retries."""
    try:
        if write:
            database.parent.mkdir(parents=True, exist_ok=True)
        existed = database.exists()
        mode = "rwc" if write else "ro"
        with closing(sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True, timeout=20)) as connection:
            connection.execute("BEGIN IMMEDIATE" if write and existed else "PRAGMA schema_version")
            connection.rollback()
        if write:
            Path(f"{database}.lock").touch()
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        wanted = "written" if write else "read"
        raise UserError(
            f"The results database {database} cannot be {wanted}: {reason}; work in another folder, or "
            "set MLFLOW_TRACKING_URI."
        ) from error


def _check_database(uri: str) -> None:
    """Connect once: MLflow itself would retry for minutes."""
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(uri)
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        reason = without_secrets(str(error).splitlines()[0], uri)
        raise UserError(f"Cannot use MLFLOW_TRACKING_URI={shown_uri(uri)}: {reason}") from error

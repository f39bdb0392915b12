"""MLflow's own pages, opened on the table of results."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.addresses import public_uri, without_secrets
from seqsuite.experiments.tracking.connection import MissingExperimentError
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.results.ports import free_port
from seqsuite.results.server import APP, HOST, has_first_page

_USUAL = "seqsuite"
_VIEW = "seqsuite"
_COLUMNS = {
    "attributes.`Run Name`": 100,
    "runDateAndNestInfo": 117,
    "params.`task.name`": 120,
    f"tags.`{schema.TAG_LABEL}`": 363,
    f"tags.`{schema.TAG_SIZE}`": 70,
    "params.`seed`": 45,
    f"tags.`{schema.TAG_SCORE}`": 80,
    f"tags.`{schema.TAG_RATE}`": 75,
    "params.`scale`": 90,
    "duration": 80,
    "params.`command`": 420,
}
"""Of MLflow's table, from the left, in pixels: which model is best at what is in sight at a width of 1280.
Columns that no run of an experiment has, as the command of a benchmark, are not shown.
"""
_OPTIONAL = ("params.", "tags.")
_SECTIONS = ("validation", "train", "test", "best", "model", "baseline", "baseline_validation")
"""Of MLflow's charts: curves first, then what has one value."""
_OF_OTHER_SERVERS = {"MLFLOW_GUNICORN_OPTS", "MLFLOW_STATIC_PREFIX", "MLFLOW_UVICORN_OPTS"}
"""Settings of a server for others, with which ours would answer elsewhere or not at all."""
_START_SECONDS = 90
_STOP_SECONDS = 10


def launch(
    port: int = 5000,
    open_browser: bool = True,
    *,
    experiment: str | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Serve MLflow's pages for the default store on this machine until Ctrl-C, and show the way to the table.

    If the store is a server already, nothing is started: only the link is shown and opened. The server ends
    with this process, however that ends.

    Args:
        port: TCP port to serve on; if it is in use, the next free one.
        open_browser: Whether to open the link in the user's browser.
        experiment: Name of the MLflow experiment; by default ``seqsuite``, or else the latest that there is.
        say: Called with each line for the user.

    Raises:
        UserError: if there are no results yet, browsers refuse the port, none is free, or the server does not
            start.
    """
    store = _open(experiment, say)
    try:
        save_view(store)
    except UserError as error:
        say(f"MLflow shows columns of its own choice. {error}")
    if store.uri.startswith(("http://", "https://")):
        _show(link(public_uri(store.uri), store), open_browser, say)
        return
    wanted, port = port, free_port(port)
    if port != wanted:
        say(f"Port {wanted} is in use: the pages are on port {port}.")
    with tempfile.TemporaryFile("w+") as log:
        # A plain `kill` must not leave the server behind either.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        server = _start(store, port, log)
        try:
            _wait_until_ready(server, port, log, store)
            _show(
                link(f"http://{HOST}:{port}", store, first=APP if has_first_page() else ""), open_browser, say
            )
            say("Ctrl-C stops the server.")
            server.wait()
            raise UserError(f"The MLflow server has stopped: {_last_line(log, store)}")
        except KeyboardInterrupt:
            say("Stopped.")
        finally:
            _stop(server)
            signal.signal(signal.SIGTERM, before)


def save_view(store: Store) -> None:
    """Save in the experiment which columns MLflow's table shows, for :func:`link` to open.

    MLflow keeps a view that a user shares as a tag of the experiment. Its own first view hides all metrics.
    """
    view = {
        # Cells and benchmarks; MLflow has no OR.
        "searchFilter": f"tags.`{schema.TAG_KIND}` != 'grid'",
        "orderByKey": f"tags.`{schema.TAG_ORDER}`",
        "orderByAsc": True,
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "startTime": "ALL",
        "selectedColumns": [column for column in _COLUMNS if column.startswith(_OPTIONAL)],
        "columnOrder": list(_COLUMNS),
        "columnWidths": _COLUMNS,
        "viewMaximized": True,
        "runListHidden": False,
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True, "isGenerated": True}
            for name in _SECTIONS
        ],
        "isAccordionReordered": True,
    }
    with store.errors():
        store.client.set_experiment_tag(
            store.experiment_id, f"mlflow.sharedViewState.{_VIEW}", json.dumps(view)
        )


def link(server: str, store: Store, first: str = "") -> str:
    """Return the address of the saved view on a server, by way of a ``first`` page where it has one."""
    page = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW}"
    return f"{server.rstrip('/')}/{first}{page}"


def _open(experiment: str | None, say: Callable[[str], object]) -> Store:
    """Open an experiment, or of a store the usual one, or the latest where it has others only."""
    try:
        return open_store(experiment or _USUAL, create=False)
    except MissingExperimentError as missing:
        if experiment is not None or not missing.others:
            raise
        say(f"There is no experiment {_USUAL!r} here: the pages are of {missing.others[0]!r}.")
        return open_store(missing.others[0], create=False)


def _show(address: str, open_browser: bool, say: Callable[[str], object]) -> None:
    say(f"Results: {address}")
    if open_browser:
        webbrowser.open(address)


def _start(store: Store, port: int, log: IO[str]) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own, so that Ctrl-C reaches this process only."""
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Without the job executor there are two processes instead of some fifteen.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    others = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_SERVERS}
    return subprocess.Popen(
        [sys.executable, "-m", "seqsuite.results.server", str(port)],
        env=others | environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: IO[str], store: Store) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"The MLflow server did not start: {_last_line(log, store)}")
        if _answers(port):
            return
        time.sleep(0.2)
    raise UserError(f"The MLflow server did not answer on port {port} within {_START_SECONDS} seconds.")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log: IO[str], store: Store) -> str:
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    return without_secrets(lines[-1].strip(), store.uri) if lines else "it gave no reason."


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, and only then close the standard input that they watch."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert server.stdin is not None
    server.stdin.close()

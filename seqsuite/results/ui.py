"""MLflow's own pages, opened on the table of results."""

import http.client
import json
import os
import signal
import socket
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
from seqsuite.experiments.tracking.store import Store, open_store

_HOST = "127.0.0.1"
_VIEW = "seqsuite"
_START_SECONDS = 90
_STOP_SECONDS = 10


def launch(
    port: int = 5000,
    open_browser: bool = True,
    *,
    experiment: str = "seqsuite",
    say: Callable[[str], object] = print,
) -> None:
    """Serve MLflow's pages for the default store on this machine until Ctrl-C, and show the way to the table.

    If the store is a server already, nothing is started: only the link is shown and opened.

    Args:
        port: TCP port to serve on.
        open_browser: Whether to open the link in the user's browser.
        experiment: Name of the MLflow experiment.
        say: Called with each line for the user.

    Raises:
        UserError: if there are no results yet, the port is in use, or the server does not start.
    """
    store = open_store(experiment, create=False)
    save_view(store)
    if store.uri.startswith(("http://", "https://")):
        _show(link(store.uri, store), open_browser, say)
        return
    _check_port(port)
    with tempfile.TemporaryFile("w+") as log:
        # A plain `kill` must not leave the server behind either.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        server = _start(store, port, log)
        try:
            _wait_until_ready(server, port, log)
            _show(link(f"http://{_HOST}:{port}", store), open_browser, say)
            say("Ctrl-C stops the server.")
            server.wait()
            raise UserError(f"The MLflow server has stopped: {_last_line(log)}")
        except KeyboardInterrupt:
            say("Stopped.")
        finally:
            _stop(server)
            signal.signal(signal.SIGTERM, before)


def save_view(store: Store) -> None:
    """Save in the experiment which columns MLflow's table shows, for :func:`link` to open.

    MLflow keeps a view that a user shares as a tag of the experiment. Its own first view hides all metrics.
    """
    cells = store.search(f"tags.`{schema.TAG_KIND}` = 'cell'")
    metrics = sorted({schema.TEST + cell.tags[schema.TAG_METRIC] for cell in cells})
    metrics += [schema.PARAMETERS, schema.TOKENS_PER_SECOND]
    tags = (schema.TAG_TASK, schema.TAG_MODEL, schema.TAG_SCALE, schema.TAG_SEED)
    view = {
        "searchFilter": f"tags.`{schema.TAG_KIND}` = 'cell'",
        "orderByKey": f"tags.`{schema.TAG_TASK}`",
        "orderByAsc": True,
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "startTime": "ALL",
        "selectedColumns": [
            *(f"tags.`{tag}`" for tag in tags),
            *(f"metrics.`{name}`" for name in metrics),
        ],
        "viewMaximized": True,
        "runListHidden": False,
    }
    with store.errors():
        store.client.set_experiment_tag(
            store.experiment_id, f"mlflow.sharedViewState.{_VIEW}", json.dumps(view)
        )


def link(server: str, store: Store) -> str:
    """Return the address of the saved view on a server."""
    page = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={_VIEW}"
    return f"{server.rstrip('/')}/{page}"


def _show(address: str, open_browser: bool, say: Callable[[str], object]) -> None:
    say(f"Results: {address}")
    if open_browser:
        webbrowser.open(address)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: a port that a server has just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UserError(
                f"Port {port} is in use: choose another, as in `seqsuite ui --port 5001`."
            ) from error


def _start(store: Store, port: int, log: IO[str]) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own, so that Ctrl-C reaches this process only."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--host", _HOST, "--port", str(port)]
    # Without the job executor there are two processes instead of some fifteen.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"The MLflow server did not start: {_last_line(log)}")
        if _answers(port):
            return
        time.sleep(0.2)
    raise UserError(f"The MLflow server did not answer on port {port} within {_START_SECONDS} seconds.")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = [line for line in log.read().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason."


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()

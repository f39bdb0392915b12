"""An MLflow server that dies and comes back: training goes on, and nothing is lost or doubled."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.experiments.tracking import uploader as uploader_module
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import open_store
from seqsuite.experiments.tracking.uploader import Uploader, sync

pytestmark = pytest.mark.slow


class Server:
    """MLflow's server on a port and a database of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        environment = {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": str(self._folder / "artifacts"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, 120)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def eventually(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(uploader_module, "LONGEST_WAIT", 1.0)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def test_an_outage_and_an_end_without_a_server(server: Server, tmp_path: Path, header: RunHeader) -> None:
    folder = tmp_path / "runs" / "cell"
    steps = iter(range(10_000))
    with Journal.open(folder) as journal:
        uploader = Uploader(journal, open_store)
        uploader.start()

        def train(number: int) -> None:
            for _, step in zip(range(number), steps, strict=False):
                journal.metrics({"train/loss": 1.0 / (step + 1), "test/length_256/accuracy": 0.5}, step)

        def arrived() -> int | None:
            return open_store().last_steps(journal.run_id or "").get("train/loss")

        journal.start(header, None)
        train(1500)
        eventually(lambda: journal.run_id is not None and arrived() == 1499, 60)
        server.kill()
        train(100)
        eventually(lambda: uploader.error is not None, 60)
        assert "no server answers" in (uploader.error or "")
        train(100)
        server.start()
        eventually(lambda: arrived() == 1699, 60)
        server.kill()
        train(100)
        (folder / "best").mkdir()
        (folder / "best" / "config.json").write_text("{}")
        journal.artifact(folder / "best" / "config.json", "last")
        journal.model(folder / "best", name="dna-mamba", params={})
        journal.end("FINISHED")
        assert uploader.close(1) > 100
        run_id = journal.run_id
    assert run_id is not None
    server.start()
    store = open_store()
    sync(folder, store)
    for key in ("train/loss", "test/length_256/accuracy"):
        points = store.client.get_metric_history(run_id, key)
        assert sorted(point.step for point in points) == list(range(1800))
    assert [(run.run_id, run.status) for run in store.search("")] == [(run_id, "FINISHED")]
    assert (store.model_folder(run_id, tmp_path / "copy") / "config.json").read_text() == "{}"
    assert not folder.exists()

"""A store of the tests of a session, and an MLflow server for tests, killed at their end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.experiments.tracking import uploader as uploader_module
from seqsuite.experiments.tracking.store import Store, open_store

from .server import Server, eventually


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], object], float], None]:
    """Return what waits for a condition, so many seconds at most."""
    return eventually


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


@pytest.fixture
def store(shared_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(shared_folder)
    return open_store(request.node.name)

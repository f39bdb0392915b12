"""An MLflow server for tests, killed at their end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.experiments.tracking import uploader as uploader_module

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

"""How the user interface starts its server: on which port, and what is said where that fails."""

import io
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.results import ui

from .sockets import Sockets

Record = Callable[..., str]


class Ended:
    """A server that ends at once; of a group that is no process's."""

    pid = 2**30
    waits = 0

    def __init__(self, command: list[str], **kept: Any) -> None:
        self.command, self.environment = command, kept["env"]
        self.stdin = io.BytesIO()
        kept["stdout"].write("starting\nno memory\n\n")
        servers.append(self)

    def poll(self) -> int:
        return 1

    def wait(self, seconds: float | None = None) -> int:
        self.waits += 1
        if self.waits == 1:
            raise subprocess.TimeoutExpired("server", seconds or 0.0)
        return 0


servers: list[Ended] = []


@pytest.fixture
def ports(store: Store, record: Record, monkeypatch: pytest.MonkeyPatch) -> Sockets:
    record("mamba", 1.9)
    found = Sockets()
    monkeypatch.setattr("socket.socket", found)
    monkeypatch.setattr("subprocess.Popen", Ended)
    servers.clear()
    return found


def test_the_next_free_port_is_taken_and_the_servers_last_words_are_told(
    store: Store, ports: Sockets
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ports.used = range(5000, 5019)
    with pytest.raises(UserError, match=r"^The MLflow server did not start: no memory$"):
        ui.launch(experiment=store.experiment)
    assert ports.tried == list(range(5000, 5020))
    (server,) = servers
    assert server.command[-1] == "5019"
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == store.uri
    assert (server.waits, server.stdin.closed) == (2, True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_port_than_the_one_asked_for_is_told(store: Store, ports: Sockets) -> None:
    said: list[str] = []
    with pytest.raises(UserError):
        ui.launch(experiment=store.experiment, say=said.append)
    assert said == []
    ports.used = range(5000, 5001)
    with pytest.raises(UserError):
        ui.launch(experiment=store.experiment, say=said.append)
    assert said == ["Port 5000 is in use: the pages are on port 5001."]


def test_where_the_usual_experiment_is_missing_the_latest_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("subprocess.Popen", Ended)
    said: list[str] = []
    open_store("seqsuite-bench")
    with pytest.raises(UserError, match="did not start"):
        ui.launch(say=said.append)
    assert said[0] == "There is no experiment 'seqsuite' here: the pages are of 'seqsuite-bench'."
    with pytest.raises(UserError, match="it has no experiment 'seqsuite'"):
        ui.launch(experiment="seqsuite", say=said.append)  # asked for by name


def test_a_store_that_cannot_be_written_is_shown_with_other_columns(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise OSError("(sqlite3.OperationalError) attempt to write a readonly database [SQL: INSERT …]")

    monkeypatch.setattr("subprocess.Popen", Ended)
    monkeypatch.setattr(type(store.client), "set_experiment_tag", refused)
    said: list[str] = []
    with pytest.raises(UserError, match="did not start"):
        ui.launch(say=said.append)
    assert said[1].startswith("MLflow shows columns of its own choice. Cannot write to the MLflow store ")
    assert said[1].endswith("it is read-only; let yourself write to it, or copy it to another folder.")


def test_the_view_of_the_table_is_kept_with_the_experiment(store: Store) -> None:
    ui.save_view(store)
    tags = store.client.get_experiment(store.experiment_id).tags
    view = json.loads(tags["mlflow.sharedViewState.seqsuite"])
    assert view["searchFilter"] == "tags.`seqsuite.kind` != 'grid'"
    assert view["selectedColumns"][:2] == ["params.`task.name`", "tags.`model`"]
    assert set(view["selectedColumns"]) < set(view["columnOrder"])
    assert view["columnOrder"] == list(view["columnWidths"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("tags.`seqsuite.order`", True)
    assert [section["name"] for section in view["compareRunSections"]][:3] == ["validation", "train", "test"]

import http.server
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.processes import process_identity
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Point, Store, open_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, and with it one database, for the module: creating one takes seconds."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    """The default store in ``folder``, with an experiment of the test's own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    return open_store(request.node.name)


LARGEST = sys.float_info.max  # what MLflow keeps of an infinity


def start(store: Store, cell_id: str = "c0", resume: str | None = None, **arguments: Any) -> str:
    header = RunHeader(
        **{"params": {}, "tags": {}, "group_id": "g0", "name": "dna-mamba"} | arguments, cell_id=cell_id
    )
    return store.start_cell(header, resume)


def history(store: Store, run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, metric)]


def test_a_cell_is_recorded_with_its_settings_tags_and_metrics(store: Store) -> None:
    params = {"task": {"name": "dna"}, "train.clip": None, "train.steps": 3, "model.tie": True, "x": [1, 2]}
    run_id = start(store, params=params, tags={schema.TAG_TASK: "dna", schema.TAG_SEED: "1"})
    store.log_points(run_id, [Point("test/length_256/accuracy", 1 / step, 9, step) for step in (1, 2, 3)])
    store.finish(run_id, "FINISHED")
    cell = store.find_cell("c0")
    assert cell is not None
    assert (cell.run_id, cell.status, cell.name) == (run_id, "FINISHED", "dna-mamba")
    assert cell.params == {
        "task.name": "dna",
        "train.clip": "null",
        "train.steps": "3",
        "model.tie": "true",
        "x": "[1, 2]",
    }
    assert cell.tags[schema.TAG_TASK] == "dna"
    assert cell.tags[schema.TAG_KIND] == "cell"
    assert cell.tags[schema.TAG_GROUP] == "g0"
    assert history(store, run_id, "test/length_256/accuracy") == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
    ]
    assert store.last_steps(run_id) == {"test/length_256/accuracy": 3}


@pytest.mark.parametrize(
    ("fingerprint", "digest"), [("0123456789" * 5, "012345678901234567890123456789012345"), ("", "generated")]
)
def test_a_run_names_its_data_once(store: Store, fingerprint: str, digest: str) -> None:
    about = {
        "tags": {schema.TAG_TASK: "dna", schema.TAG_DATA: fingerprint},
        "params": {"task": {"path": "a.fa"}},
    }
    run_id = start(store, **about)
    assert start(store, resume=run_id, **about) == run_id
    (data,) = (read.dataset for read in store.client.get_run(run_id).inputs.dataset_inputs)
    assert (data.name, data.digest, data.source) == ("dna", digest, '{"path": "a.fa"}')


def test_nothing_is_lost_beyond_the_size_of_one_call(store: Store) -> None:
    run_id = start(store, params={f"p{i}": i for i in range(250)} | {"long": "x" * 7000})
    store.log_points(run_id, [Point(f"m{i}", i, 9, 1) for i in range(1500)])
    store.log_batch(run_id, tags={f"t{i}": str(i) for i in range(250)})
    cell = store.get(run_id)
    assert len(cell.metrics) == 1500
    assert len(cell.params) == 251
    assert cell.tags["t249"] == "249"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1])
def test_the_same_point_again_is_stored_once(store: Store, value: float) -> None:
    run_id = start(store)
    for _ in range(2):
        store.log_points(run_id, [Point("loss", value, 9, 1), Point("loss", 2.0, 9, 2)])
    stored = history(store, run_id, "loss")
    assert [step for step, _ in stored] == [1, 2]
    assert stored[0][1] == pytest.approx(max(min(value, LARGEST), -LARGEST), nan_ok=True)


def test_a_resumed_run_goes_on_and_keeps_its_settings(store: Store) -> None:
    first = start(store, params={"train.steps": 2, "run.device": "cpu"})
    store.finish(first, "KILLED")
    grid = store.start_grid("grid", {})
    params = {"train.steps": 2, "run.device": "cuda", "run.new": 1}
    assert start(store, params=params, parent_run_id=grid, resume=first) == first
    assert store.get(first).status == "RUNNING"
    store.finish(first, "FINISHED")
    store.finish(grid, "FINISHED")
    cell = store.find_cell("c0")
    assert cell is not None
    assert (cell.run_id, cell.status) == (first, "FINISHED")
    assert cell.params == {"train.steps": "2", "run.device": "cpu", "run.new": "1"}
    assert cell.tags["mlflow.parentRunId"] == grid
    assert store.get(grid).tags[schema.TAG_KIND] == "grid"


def test_the_finished_run_of_a_cell_is_found_and_else_the_newest(store: Store) -> None:
    """The clock may have been set back between two runs."""
    assert store.find_cell("c0") is None
    header = RunHeader("c0", "g0", "dna-mamba", {}, {})
    runs = {}
    ends: list[tuple[int, FinalStatus]] = [
        (3000, "FAILED"),
        (4000, "KILLED"),
        (2000, "FINISHED"),
        (1000, "FINISHED"),
    ]
    for at, status in ends:
        runs[at] = store.start_cell(header, at=at)
        store.finish(runs[at], status)
        found = store.find_cell("c0")
        assert found is not None
        assert found.run_id == runs[max(runs) if 2000 not in runs else 2000]


def test_runs_whose_process_is_gone_are_reaped_and_no_others(store: Store) -> None:
    script = (
        "import os, sys; from seqsuite.experiments.tracking.events import RunHeader\n"
        "from seqsuite.experiments.tracking.store import open_store\n"
        "open_store(sys.argv[1]).start_cell(RunHeader('gone', 'g', 'gone', {}, {}))\n"
        "os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, store.experiment], check=False)
    gone = store.find_cell("gone")
    assert gone is not None
    runs = {
        "alive": start(store, cell_id="alive"),
        "renamed": start(store, cell_id="renamed"),
        "elsewhere": start(store, cell_id="elsewhere"),
    }
    dead = {schema.TAG_PROCESS: gone.tags[schema.TAG_PROCESS], schema.TAG_HOST: "another-name"}
    store.log_batch(runs["renamed"], tags=dead)
    store.log_batch(runs["elsewhere"], tags=dead | {schema.TAG_MACHINE: "another"})
    assert store.reap_stale() == 2
    found = {cell.tags[schema.TAG_CELL]: cell.status for cell in store.search("")}
    assert found == {"gone": "KILLED", "renamed": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING"}
    assert store.reap_stale() == 0


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    assert identity is not None
    assert identity != process_identity(os.getpid())
    process.communicate()
    assert process_identity(process.pid) is None


def test_artifacts_and_the_model_are_stored_beside_the_database(store: Store, tmp_path: Path) -> None:
    (tmp_path / "sample.fasta").write_text(">s\nACGT\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "config.json").write_text("{}")
    run_id = start(store)
    store.artifact(run_id, tmp_path / "sample.fasta", "samples")
    for _ in range(2):  # again after a crash
        store.publish_model(run_id, model, name="dna-mamba", params={"d_model": "64"})
    assert len(store.client.get_run(run_id).outputs.model_outputs) == 1
    artifacts = store.client.list_artifacts(run_id, "samples")
    assert [artifact.path for artifact in artifacts] == ["samples/sample.fasta"]
    copied = store.model_folder(run_id, tmp_path / "copy")
    assert (copied / "model.safetensors").read_bytes() == b"weights"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["mlflow.db", "mlflow.db.lock", "mlruns"]


def test_a_run_without_a_model_says_so(store: Store, tmp_path: Path) -> None:
    run_id = start(store)
    with pytest.raises(UserError, match="has no model"):
        store.model_folder(run_id, tmp_path)
    with pytest.raises(UserError, match="no-such-run"):
        store.get("no-such-run")


@pytest.mark.slow
def test_processes_that_start_together_on_nothing_share_one_database(tmp_path: Path) -> None:
    script = (
        "import sys; from seqsuite.experiments.tracking.store import open_store\n"
        "from seqsuite.experiments.tracking.events import RunHeader\n"
        "open_store().start_cell(RunHeader(sys.argv[1], 'g', 'n', {}, {}))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, str(number)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    assert [process.communicate()[0] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]


def test_reading_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no results yet"):
        open_store(create=False)
    assert not list(tmp_path.iterdir())


def test_reading_needs_an_experiment(store: Store) -> None:
    with pytest.raises(UserError, match="no experiment 'another'"):
        open_store("another", create=False)
    assert open_store(store.experiment, create=False).experiment_id == store.experiment_id


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def other_server() -> Iterator[str]:
    """A web server that is not MLflow."""
    handler = http.server.BaseHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as caught:
        open_store()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_does_not_answer_is_reported(
    silent_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    assert "no server answers" in refused(silent_server, monkeypatch)
    assert "no server answers" in refused("http://127.0.0.1:9", monkeypatch)
    assert "secret" not in refused("http://me:secret@127.0.0.1:9", monkeypatch)
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_not_mlflow_is_reported(
    other_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert other_server in refused(other_server, monkeypatch)


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "mlruns"])
def test_a_folder_as_store_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert "names a folder" in refused(uri, monkeypatch)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "nonsense://there"])
def test_an_address_that_is_none_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uri in refused(uri, monkeypatch)


def test_a_database_that_cannot_be_used_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("This is a text and not a database.")
    assert "not a database" in refused(f"sqlite:///{tmp_path}/text.db", monkeypatch)
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(f"sqlite:///{tmp_path}/file/mlflow.db", monkeypatch)
    (tmp_path / "folder.db").mkdir()
    assert "cannot be written" in refused(f"sqlite:///{tmp_path}/folder.db", monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.db", "text.db"]


def test_the_users_patience_with_a_server_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    open_store(store.experiment)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_value_at_the_end_is_at_step_0_of_that_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(store)
    monkeypatch.setattr("seqsuite.experiments.tracking.store.time", SimpleNamespace(time=lambda: 1234.5))
    store.metrics(run_id, {"test/loss": 2.5})
    (point,) = store.client.get_metric_history(run_id, "test/loss")
    assert (point.step, point.value, point.timestamp) == (0, 2.5, 1_234_500)


def test_a_run_is_found_by_its_journal_and_is_there_until_it_is_deleted(store: Store) -> None:
    header = RunHeader("c0", "g0", "dna-mamba", {}, {})
    first = store.start_cell(header, at=1000, journal="one")
    other = store.start_cell(header, at=2000, journal="other")
    store.start_cell(header, at=3000, journal="one")
    assert [store.find_journal(name) for name in ("one", "other", "none")] == [first, other, None]
    assert store.get(first).start_time == 1.0
    store.client.delete_run(other)
    assert [store.has_run(name) for name in (first, other, "none")] == [True, False, False]
    assert not open_store("of others").has_run(first)


def test_calls_have_the_largest_sizes_that_mlflow_takes() -> None:
    calls: list[tuple[str, int]] = []

    class Client:
        def log_batch(self, run_id: str, **what: list[Any]) -> None:
            calls.extend((name, len(values)) for name, values in what.items())

    store = Store("sqlite:///x", "0", "e", Client())
    store.log_points("r", [Point("a", 1.0, 9, step) for step in range(2001)])
    store.log_batch("r", {f"p{i}": "" for i in range(200)}, {f"t{i}": "" for i in range(101)})
    assert calls == [
        ("metrics", 1000),
        ("metrics", 1000),
        ("metrics", 1),
        ("params", 100),
        ("params", 100),
        ("tags", 100),
        ("tags", 1),
    ]

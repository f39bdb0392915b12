"""``seqsuite sync``: runs that were recorded without a server reach one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import open_store

Command = Callable[..., Result]


def record(folder: Path, status: FinalStatus | None = "FINISHED", experiment: str = "seqsuite") -> None:
    params = {"run": {"experiment": experiment}}
    with Journal.open(folder) as journal:
        journal.start(RunHeader(f"id-{folder.name}", "g", folder.name, params, {}), None)
        journal.metrics({"train/loss": 1.0}, 1)
        if status is not None:
            journal.end(status)


@pytest.fixture
def runs(seqsuite: Command, shared_folder: Path) -> Path:
    folder = shared_folder / "runs-to-sync"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def test_offline_runs_are_sent_to_their_experiments(seqsuite: Command, runs: Path) -> None:
    record(runs / "done")
    record(runs / "killed", status=None, experiment="other")
    result = seqsuite("sync", str(runs))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["done: 3 events sent", "killed: 3 events sent", "All is sent."]
    done, killed = open_store().find_cell("id-done"), open_store("other").find_cell("id-killed")
    assert done is not None
    assert killed is not None
    assert (done.status, killed.status) == ("FINISHED", "KILLED")
    assert done.metrics == {"train/loss": 1.0}
    assert [path.name for path in runs.iterdir() if path.is_dir()] == ["killed"]
    again = seqsuite("sync", str(runs))
    assert (again.exit_code, again.output) == (0, "All was sent before.\n")


def test_what_cannot_be_sent_is_told_and_the_rest_is_sent(seqsuite: Command, runs: Path) -> None:
    record(runs / "fine")
    record(runs / "running")
    (runs / "damaged").mkdir()
    (runs / "damaged" / "events.jsonl").write_text("nonsense\n")
    with Lease.take(runs / "running"):
        result = seqsuite("sync", str(runs))
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert "running is being run by process" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 run could not be sent: give `seqsuite sync` again."
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == ["damaged", "running"]


def test_a_server_that_is_away_keeps_all(
    seqsuite: Command, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(runs / "done")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    result = seqsuite("sync", str(runs))
    assert result.exit_code == 1
    assert "no server answers there" in result.stderr
    assert "secret" not in result.output
    assert (runs / "done" / "events.jsonl").exists()


def test_a_folder_without_runs(seqsuite: Command, runs: Path) -> None:
    result = seqsuite("sync", str(runs))
    assert (result.exit_code, result.output) == (0, f"There are no runs in {runs}.\n")

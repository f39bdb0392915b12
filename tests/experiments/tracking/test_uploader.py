"""What is recorded arrives: in order, once, however often server and process fail."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import uploader as uploader_module
from seqsuite.experiments.tracking.events import EVENTS, RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease, LeaseHeld
from seqsuite.experiments.tracking.uploader import SENT, Uploader, sync

Fake = Callable[..., Any]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEND_SECONDS", "LONGEST_WAIT", "_LAST_WAIT"):
        monkeypatch.setattr(uploader_module, name, 0.005)


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def write_run(folder: Path, header: RunHeader) -> None:
    """Record a run that was interrupted once, with all kinds of events."""
    with Journal.open(folder) as journal:
        journal.start(header, None)
        for step in range(3):
            journal.metrics({"loss": 1.0 / (step + 1), "deep/er/name": float("nan")}, step)
        journal.end("KILLED")
        journal.start(header, None)
        for step in range(2, 5):
            journal.metrics({"loss": 1.0 / (step + 1)}, step)
        (folder / "best").mkdir()
        (folder / "best" / "config.json").write_text("{}")
        journal.artifact(folder / "best" / "config.json", "last")
        journal.model(folder / "best", name="dna-mamba", params={"step": "4"})
        journal.tags({"seen": "yes"})
        journal.end("FINISHED")


EXPECTED = [(step, 1.0 / (step + 1)) for step in range(5)]


def test_a_run_arrives_whole_while_it_goes_on(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    store = fake()
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, store)
        uploader.start()
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 0)
        eventually(lambda: journal.run_id == "run0" and store.series("loss") == [(0, 1.0)])
        journal.metrics({"loss": 0.5}, 1)
        journal.end("FINISHED")
        assert uploader.close(60) == 0
    run = store.runs["run0"]
    assert (run["status"], run["header"].params) == ("FINISHED", header.params)
    assert store.series("loss") == [(0, 1.0), (1, 0.5)]
    assert uploader.error is None


def test_an_outage_holds_nothing_up_and_loses_nothing(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    store = fake()
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, lambda: store)
        uploader.start()
        journal.start(header, None)
        for step in range(300):
            store.up = not 100 <= step < 200
            journal.metrics({"loss": float(step)}, step)
            if step in (50, 250):
                eventually(lambda: len(store.series("loss")) > 1)
            if step == 150:
                eventually(lambda: uploader.error is not None)
                assert "no server answers" in uploader.error
        journal.end("FINISHED")
        assert uploader.close(60) == 0
    assert store.series("loss") == [(step, float(step)) for step in range(300)]


def test_a_server_that_never_answers_holds_nothing_up(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    answer = threading.Event()

    class Silent(fake):
        def find_journal(self, journal: str) -> str | None:
            answer.wait()
            return super().find_journal(journal)

    store = Silent()
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, store)
        uploader.start()
        journal.start(header, None)
        for step in range(10):
            journal.metrics({"loss": float(step)}, step)
        journal.end("KILLED")
        assert uploader.close(0.1) == 12
    answer.set()
    eventually(lambda: all(thread.name != "uploader" for thread in threading.enumerate()))
    sync(tmp_path, store)
    assert store.series("loss") == [(step, float(step)) for step in range(10)]
    assert list(store.runs) == ["run0"]


def test_a_dead_server_leaves_all_to_sync(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    def connect() -> Any:
        raise UserError("no server answers there")

    with Journal.open(tmp_path / "cell") as journal:
        uploader = Uploader(journal, connect)
        uploader.start()
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 0)
        journal.end("FINISHED")
        assert uploader.close(0.05) == 3
        assert "no server answers" in (uploader.error or "")
    store = fake()
    assert sync(tmp_path / "cell", store) == 3
    assert store.series("loss") == [(0, 1.0)]


def test_offline_nothing_is_sent_and_sync_sends_it(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    write_run(tmp_path / "cell", header)
    with Journal.open(tmp_path / "cell") as journal:
        uploader = Uploader(journal, None)
        uploader.start()
        unsent = uploader.close(60)
    store = fake()
    assert sync(tmp_path / "cell", store) == unsent == 12
    run = store.runs["run0"]
    assert store.series("loss") == EXPECTED
    assert run["artifacts"] == {"last/config.json": "{}"}
    assert run["models"] == {"dna-mamba": ({"config.json": "{}"}, {"step": "4"})}
    assert (run["tags"], run["status"]) == ({"seen": "yes"}, "FINISHED")
    assert run["start"] <= run["end"]
    assert not (tmp_path / "cell").exists()


@pytest.mark.parametrize("fails", ["before", "after"])
@pytest.mark.parametrize("forgets", [False, True], ids=["", "the machine crashed"])
def test_a_failure_of_any_call_loses_and_doubles_nothing(
    tmp_path: Path, header: RunHeader, fake: Fake, fails: str, forgets: bool
) -> None:
    calls = 9
    for number in range(calls + 1):
        folder = tmp_path / str(number)
        write_run(folder, header)
        store = fake(fail_at=number, fails=fails)
        if number < calls:
            with pytest.raises(UserError):
                sync(folder, store)
            if forgets:
                (folder / SENT).unlink(missing_ok=True)
        sync(folder, store)
        assert list(store.runs) == ["run0"]
        assert store.series("loss") == EXPECTED
        assert len(store.series("deep/er/name")) == 3
        assert store.runs["run0"]["status"] == "FINISHED"
        assert not folder.exists()
    assert store.calls == calls


def test_a_run_that_nobody_goes_on_with_is_ended(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 0)
    store = fake()
    sync(tmp_path, store)
    assert store.runs["run0"]["status"] == "KILLED"
    assert sync(tmp_path, store) == 0
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, store)
        assert journal.run_id == "run0"
        uploader.start()
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 0)
        journal.metrics({"loss": 0.5}, 1)
        journal.end("FINISHED")
        assert uploader.close(60) == 0
    assert store.series("loss") == [(0, 1.0), (1, 0.5)]


@pytest.mark.parametrize("known", [True, False], ids=["by the journal", "by what was sent"])
def test_where_the_run_is_gone_all_is_sent_again(
    tmp_path: Path, header: RunHeader, fake: Fake, known: bool
) -> None:
    """Its run was deleted, or this is another store."""
    with Journal.open(tmp_path) as journal:
        journal.start(header, "gone" if known else None)
        journal.metrics({"loss": 1.0}, 0)
    if not known:
        sync(tmp_path, fake())
    store = fake()
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, store)
        uploader.start()
        journal.start(header, journal.run_id)
        journal.metrics({"loss": 0.5}, 1)
        journal.end("FINISHED")
        assert uploader.close(60) == 0
        assert journal.run_id == "run0"
    assert list(store.runs) == ["run0"]
    assert store.series("loss") == [(0, 1.0), (1, 0.5)]


def test_a_run_that_is_deleted_while_it_goes_on_is_sent_again(
    tmp_path: Path, header: RunHeader, fake: Fake
) -> None:
    class Deleting(fake):
        def log_points(self, run_id: str, points: Any) -> None:
            if run_id not in self.runs:
                raise UserError("there is no such run")
            super().log_points(run_id, points)

    store = Deleting()
    with Journal.open(tmp_path) as journal:
        uploader = Uploader(journal, store)
        uploader.start()
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 0)
        eventually(lambda: store.series("loss") == [(0, 1.0)])
        store.runs = {}
        journal.metrics({"loss": 0.5}, 1)
        eventually(lambda: store.series("loss") == [(0, 1.0), (1, 0.5)])
        assert uploader.close(60) == 0


def test_what_was_sent_of_another_journal_does_not_count(
    tmp_path: Path, header: RunHeader, fake: Fake
) -> None:
    store = fake()
    for loss in (1.0, 2.0):
        with Journal.open(tmp_path) as journal:
            journal.start(header, None)
            journal.metrics({"loss": loss}, 0)
        sync(tmp_path, store)
        (tmp_path / EVENTS).unlink()
    assert store.series("loss", "run0") == [(0, 1.0)]
    assert store.series("loss", "run1") == [(0, 2.0)]


def test_points_go_in_calls_of_legal_size(
    tmp_path: Path, header: RunHeader, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Counting(fake):
        def log_points(self, run_id: str, points: Any) -> None:
            sizes.append(len(points))
            super().log_points(run_id, points)

    monkeypatch.setattr(uploader_module, "MAX_METRICS_PER_CALL", 4)
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        for step in range(5):
            journal.metrics({"loss": 1.0, "rate": 2.0}, step)
    assert sync(tmp_path, Counting()) == 7
    assert sizes == [4, 4, 2]


def test_who_waits_for_the_rest_may_stop_waiting(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    store = fake()
    store.up = False
    asked = iter([False, False, True])
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        uploader = Uploader(journal, store)
        uploader.start()
        assert uploader.close(1e9, stop=lambda: next(asked)) == 1


def test_a_running_cell_is_left_to_its_process(tmp_path: Path, header: RunHeader, fake: Fake) -> None:
    write_run(tmp_path / "cell", header)
    with Lease.take(tmp_path / "cell"), pytest.raises(LeaseHeld):
        sync(tmp_path / "cell", fake())
    assert (tmp_path / "cell").exists()


def test_a_folder_without_a_journal_has_nothing_to_send(tmp_path: Path, fake: Fake) -> None:
    assert sync(tmp_path, fake()) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_stops_nothing(
    tmp_path: Path, header: RunHeader, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path / "cell", header)
    (tmp_path / "cell" / "best" / "config.json").unlink()
    store = fake()
    sync(tmp_path / "cell", store)
    assert store.runs["run0"]["status"] == "FINISHED"
    assert "config.json is gone" in caplog.text


WRITER = """
import sys, time
from pathlib import Path
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
checkpoint = folder / "checkpoint"
with Journal.open(folder) as journal:
    journal.start(RunHeader("c", "g", "n", {}, {}), None)
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print("started", flush=True)
    while step < steps:
        step += 1
        journal.metrics({"loss": 1.0 / step, "rate": 0.1}, step)
        if step % 50 == 0:
            journal.flush()
            (folder / "new").write_text(str(step))
            (folder / "new").replace(checkpoint)
        time.sleep(0.0005)
    journal.end("FINISHED")
"""


def test_a_writer_killed_at_random_moments_leaves_whole_series(tmp_path: Path, fake: Fake) -> None:
    steps, chance, store, folder = 600, random.Random(0), fake(), tmp_path / "cell"
    for life in range(5):
        command = [sys.executable, "-c", WRITER, str(folder), str(steps)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            if life < 4:
                time.sleep(chance.uniform(0, 0.15))
                process.kill()
        if life == 2:
            sync(folder, store)
    sync(folder, store)
    assert store.series("loss") == [(step, 1.0 / step) for step in range(1, steps + 1)]
    assert len(store.series("rate")) == steps
    assert (list(store.runs), store.runs["run0"]["status"]) == (["run0"], "FINISHED")

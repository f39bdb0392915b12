"""Who runs a cell: one process at a time, on whatever host, for as long as it lives."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import lease as lease_module
from seqsuite.experiments.tracking.lease import Lease, LeaseHeld

TAKE = """
import os, sys
from pathlib import Path
from seqsuite.experiments.tracking.lease import Lease, LeaseHeld
print("ready", flush=True)
sys.stdin.readline()
try:
    Lease.take(Path(sys.argv[1]))
    print("held", flush=True)
except LeaseHeld as held:
    print("busy", held.owner.pid, flush=True)
sys.stdin.readline()
os._exit(0)
"""


def starter(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def say(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def change(folder: Path, seconds_ago: float = 0, **values: object) -> None:
    """Change what the folder's lease says."""
    path = folder.with_name(f".{folder.name}.lease")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "dna-mamba-0"


@pytest.fixture
def abandoned(folder: Path) -> Path:
    """A folder whose owner was killed."""
    with starter(folder) as process:
        assert hear(process) == "ready"
        say(process)
        assert hear(process) == "held"
        process.kill()
    return folder


def test_one_holds_a_lease_and_the_other_is_told_who(folder: Path) -> None:
    with Lease.take(folder) as lease:
        with pytest.raises(LeaseHeld) as held:
            Lease.take(folder)
        assert (held.value.owner.pid, held.value.owner.host) == (os.getpid(), socket.gethostname())
        for part in (folder.name, str(os.getpid()), socket.gethostname(), "--takeover"):
            assert part in str(held.value)
        assert not lease.lost()
    with Lease.take(folder):
        pass


def test_the_owner_may_delete_the_folder(folder: Path) -> None:
    with Lease.take(folder):
        folder.mkdir()
        shutil.rmtree(folder)
        with pytest.raises(LeaseHeld):
            Lease.take(folder)
    assert [path.name for path in folder.parent.iterdir() if path.suffix == ".lease"] == []


def test_a_killed_owner_is_followed_at_once_whatever_the_host_is_called_now(
    abandoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    with Lease.take(abandoned) as lease:
        assert not lease.lost()


@pytest.mark.parametrize(("seconds", "taken"), [(50, False), (70, True), (-1000, False)])
def test_on_another_host_a_lease_counts_that_is_renewed(abandoned: Path, seconds: int, taken: bool) -> None:
    change(abandoned, seconds, machine="another", host="far")
    if taken:
        Lease.take(abandoned).release()
        return
    with pytest.raises(LeaseHeld, match="on far") as held:
        Lease.take(abandoned)
    assert held.value.owner.beat_seconds_ago == pytest.approx(max(seconds, 0), abs=5)
    Lease.take(abandoned, takeover=True).release()


def test_a_lease_is_renewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.01)
    with Lease.take(folder) as lease:
        change(folder, 1000)
        path = folder.with_name(f".{folder.name}.lease")
        eventually(lambda: time.time() - path.stat().st_mtime < 500)
        assert not lease.lost()


def test_who_is_taken_over_finds_out_and_leaves_the_other_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.01)
    first = Lease.take(folder)
    with Lease.take(folder, takeover=True) as second:
        eventually(first.lost)
        first.release()
        with pytest.raises(LeaseHeld):
            Lease.take(folder)
        assert not second.lost()


def test_a_lease_that_is_torn_is_nobodys(abandoned: Path) -> None:
    abandoned.with_name(f".{abandoned.name}.lease").write_text('{"token": "x"')
    Lease.take(abandoned).release()


def test_of_processes_that_take_over_together_one_wins(abandoned: Path) -> None:
    processes = [starter(abandoned) for _ in range(20)]
    assert {hear(process) for process in processes} == {"ready"}
    for process in processes:
        say(process)
    answers = [hear(process) for process in processes]
    owners = [process.pid for process, answer in zip(processes, answers, strict=True) if answer == "held"]
    assert len(owners) == 1
    assert sorted(answers) == [f"busy {owners[0]}"] * 19 + ["held"]
    for process in processes:
        process.communicate("\n")


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="set run"):
        Lease.take(tmp_path / "file" / "cell")


def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def test_a_folder_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file cannot be used \((File exists|Not a directory)\)"):
        Lease.take(tmp_path / "file" / "cell")

    def no_locks(*_: object) -> None:
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    with pytest.raises(UserError, match=r"cannot be used \(no locks here\)"):
        Lease.take(tmp_path / "cell")


def test_an_owner_that_was_halted_finds_out_before_its_next_beat(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 1000.0)
    with Lease.take(folder) as first, Lease.take(folder, takeover=True) as second:
        assert not first.lost()  # looked at a moment ago
        monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.0)
        assert first.lost()
        assert not second.lost()


def test_whether_a_lease_is_lost_is_looked_up_after_two_missed_beats(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 1000.0)
    monkeypatch.setattr(lease_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Lease.take(folder) as first, Lease.take(folder, takeover=True):
        for now[0], lost in ((2000.0, False), (2000.5, True)):
            assert first.lost() == lost

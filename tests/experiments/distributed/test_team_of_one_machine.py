"""What the first process does to have others beside it, with processes that are none."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed import team as module
from seqsuite.experiments.distributed.team import (
    CELL,
    PORT,
    RANK,
    READY,
    WORLD,
    dismiss,
    join,
    read_order,
    team,
    told,
    world_size,
)

TINY = {"task": "selective_copying", "scale": "smoke"}
GOES_ON = "the same command goes on from the newest checkpoint."


class Process:
    """One that was started: ``status`` is what it ends with, or ``None`` while it runs."""

    started: list["Process"]
    statuses: dict[int, int] = {}
    words = b""
    comes = True

    def __init__(self, command: list[str], *, env: dict[str, str], stderr: Any, **options: Any) -> None:
        self.command, self.env, self.options = command, env, options
        self.rank = int(env[RANK])
        self.status = self.statuses.get(self.rank)
        self.waited = self.killed = False
        stderr.write(self.words.replace(b"RANK", env[RANK].encode()))
        self.started.append(self)
        self.errors = stderr
        if self.comes:
            self.store = dist.TCPStore("127.0.0.1", int(env[PORT]), is_master=False)
            self.store.set(f"{READY}{self.rank}", "")

    def poll(self) -> int | None:
        return self.status

    def wait(self) -> None:
        self.waited = True

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Let processes be started that do nothing, and the first train without them; return which."""
    found: list[Process] = []
    monkeypatch.setattr(Process, "started", found, raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # so that it is restored
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    monkeypatch.setattr(module, "subprocess", SimpleNamespace(Popen=Process, DEVNULL=subprocess.DEVNULL))

    @contextmanager
    def joined(*given: Any) -> Iterator[Any]:
        yield given

    monkeypatch.setattr(module, "join", joined)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let waiting take no time; return for how long was waited each time."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        assert seconds < 1
        waits.append(50.0)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: sum(waits), sleep=sleep))
    return waits


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def test_one_process_trains_by_itself() -> None:
    with team(resolve(TINY), Path("cell"), None) as placement:
        assert (placement.rank, placement.world, placement.device.type) == (0, 1, "cpu")


def test_processes_are_told_what_to_train_and_share_the_cores(
    started: list[Process], threads: None, tmp_path: Path
) -> None:
    config, found = resolve(TINY | {"run.nproc": "3"}), tmp_path / "cell" / "step-000000004"
    with team(config, tmp_path / "cell", found) as given:
        (_, store, rank, world) = given
        assert (rank, world, torch.get_num_threads()) == (0, 3, 2)
        assert read_order(store.get(CELL).decode()) == (config, tmp_path / "cell", found)
        assert not any(process.waited for process in started)
    assert torch.get_num_threads() == 6
    assert [(process.env[RANK], process.env[WORLD]) for process in started] == [("1", "3"), ("2", "3")]
    for process in started:
        assert process.command[1:] == ["-m", "seqsuite.experiments.distributed.follow"]
        assert process.env["OMP_NUM_THREADS"] == "2"
        assert process.options["start_new_session"]
        assert os.environ["GLOO_SOCKET_IFNAME"].startswith("lo")
        assert process.store.get(CELL).decode() == store.get(CELL).decode()
        assert process.waited
        assert process.errors.closed


def test_there_is_a_thread_for_each_however_many_they_are(
    started: list[Process], threads: None, tmp_path: Path
) -> None:
    with team(resolve(TINY | {"run.nproc": "8"}), tmp_path, None):
        assert torch.get_num_threads() == 1
        assert read_order(started[0].store.get(CELL).decode())[2] is None
    assert len(started) == 7
    assert {process.env["OMP_NUM_THREADS"] for process in started} == {"1"}


@pytest.mark.parametrize(
    ("statuses", "words", "told"),
    [
        (
            {1: 1},
            b"first\nRANK has no disk.\n",
            "Process 1 of the 3 that train this cell has failed (1 has no disk)",
        ),
        ({2: 1}, b"", "Process 2 of the 3 that train this cell has failed"),
        ({1: 0, 2: -9}, b"words", "Process 2 of the 3 that train this cell was killed by SIGKILL"),
    ],
)
def test_a_process_that_ends_before_it_is_there_is_named(
    started: list[Process],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    statuses: dict[int, int],
    words: bytes,
    told: str,
) -> None:
    for name, value in {"statuses": statuses, "words": words, "comes": False}.items():
        monkeypatch.setattr(Process, name, value)
    with pytest.raises(UserError) as raised, team(resolve(TINY | {"run.nproc": "3"}), tmp_path, None):
        pass
    assert str(raised.value) == f"{told}; {GOES_ON}"
    assert [process.killed for process in started] == [process.status is None for process in started]
    assert all(process.waited and process.errors.closed for process in started)


def test_processes_that_do_not_come_are_waited_for_for_five_minutes(
    started: list[Process], clock: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Process, "comes", False)
    with pytest.raises(UserError) as raised, team(resolve(TINY | {"run.nproc": "2"}), tmp_path, None):
        pass
    assert str(raised.value) == "The processes of run.nproc=2 have not started in minutes."
    assert sum(clock) == 350
    assert started[0].killed


@pytest.mark.parametrize("error", [RuntimeError("[gloo] broken pipe"), dist.DistNetworkError("timeout")])
def test_a_broken_connection_is_the_end_of_a_process(
    started: list[Process],
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
) -> None:
    config = resolve(TINY | {"run.nproc": "2"})
    with pytest.raises(UserError) as raised, team(config, tmp_path, None):
        raise error
    assert (
        str(raised.value) == f"The connection to another process that trains this cell has broken; {GOES_ON}"
    )
    assert sum(clock) == 50  # what ends meanwhile is named, for two seconds at most
    monkeypatch.setattr(Process, "statuses", {1: -signal.SIGTERM})
    with pytest.raises(UserError, match="was killed by SIGTERM"), team(config, tmp_path, None):
        raise error
    with pytest.raises(RuntimeError, match="mine"), team(config, tmp_path, None):
        raise RuntimeError("mine")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_launcher_has_its_processes_meet_and_dismisses_them(
    started: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: str
) -> None:
    store, met = dist.HashStore(), []
    monkeypatch.setattr(module, "rendezvous", lambda way: met.append(way) or iter([(store, int(rank), 4)]))
    dismiss()
    assert met == []
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": rank, "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    dismiss()
    assert store.check([CELL]) == (rank == "0")
    assert met == ["env://"] * (rank == "0")
    config = resolve(TINY)
    assert world_size(config.run) == 4
    with team(config, tmp_path, None) as given:
        assert given == (config, store, int(rank), 4)
    assert read_order(store.get(CELL).decode()) == (config, tmp_path, None)
    dismiss()
    assert read_order(store.get(CELL).decode()) == (config, tmp_path, None)
    assert started == []
    with pytest.raises(UserError, match="has broken"), told(None):
        raise RuntimeError("gloo")


@pytest.mark.parametrize(("way", "kind"), [("ddp", "DataParallel"), ("fsdp2", "FullySharded")])
def test_a_process_joins_as_it_is_told(way: str, kind: str) -> None:
    with join(resolve(TINY | {"run.distributed": way}), dist.HashStore(), 0, 1) as placement:
        assert type(placement).__name__ == kind
        assert (placement.rank, placement.world, placement.device.type) == (0, 1, "cpu")
        assert dist.get_backend() == "gloo"
    assert not dist.is_initialized()


@pytest.mark.parametrize("local", [None, "1"])
def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, local: str | None) -> None:
    monkeypatch.setattr(module, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local is not None:
        monkeypatch.setenv("LOCAL_RANK", local)

    def meet(backend: str, **options: Any) -> None:
        chosen.append((backend, options["rank"], options["world_size"]))
        raise KeyError

    monkeypatch.setattr(dist, "init_process_group", meet)
    config, rank = resolve(TINY), 1 if local is None else 5
    with pytest.raises(KeyError), join(config, dist.HashStore(), rank, 8):
        pass
    assert chosen == [1, ("cpu:gloo,cuda:nccl", rank, 8)]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="There are 2 GPUs, and process 2 needs one of its own"):  # noqa: SIM117
        with join(config, dist.HashStore(), 0, 8):
            pass

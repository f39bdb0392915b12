"""The same cells give the same numbers wherever they run, and one cell never stops the others."""

import json
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult, Host
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors import base, check_executor, make_executor, processes
from seqsuite.experiments.executors.base import Plan, at_once, sharing
from seqsuite.experiments.executors.worker import StoreAddress
from seqsuite.experiments.grid import check_cells
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking.events import EVENTS, Measured, journal_status, read_events
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.results.run_notes import illustrate
from tests.experiments.cells import TIMED

LONG = 100_000  # steps of a cell that does not end by itself


def grid(folder: Path, executor: str, *settings: str) -> list[CellConfig]:
    quick = [
        *["task=selective_copying", "scale=smoke", "model.d_model=16", "train.steps=4", "train.eval_every=2"],
        *["task.eval_examples=16", "run.sample_length=4", "run.checkpoint_every=2", "run.threads=1"],
        *[f"run.executor={executor}", f"run.output={folder / executor}"],
    ]
    chosen = {setting.partition("=")[0]: setting for setting in [*quick, *settings]}
    return resolve_grid(expand_grid([*chosen.values()]))


def run(cells: Sequence[CellConfig], stop: InterruptionFlag | None = None) -> list[CellResult]:
    """Run cells on a thread that is not the main one; return what became of them, in their order."""
    flag = stop or InterruptionFlag()
    host = Host(None, lambda *_: nullcontext(Callback()), illustrate, flag)
    executor = make_executor(cells[0].run.executor, Plan(host, cells[0].run))
    results: list[CellResult] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            results.extend(executor.run(cells, flag))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return sorted(results, key=lambda result: [cell is result.config for cell in cells].index(True))


def numbers(results: Sequence[CellResult]) -> list[dict[str, float]]:
    """Return all final metrics and curves of each cell that are not of time."""
    found = []
    for result in results:
        assert result.outcome == "finished", result.message
        cell = result.config
        folder = cell.run.output / f"{cell.label}-{cell.cell_id(cell.make_task().fingerprint())}"
        points = {
            f"{key} {event.step}": value
            for event, _ in read_events(folder / EVENTS)
            if isinstance(event, Measured)
            for key, value in event.values.items()
            if key not in TIMED
        }
        found.append(points | {key: value for key, value in result.metrics.items() if key not in TIMED})
    return found


@contextmanager
def once(
    folder: Path, act: Callable[[int], None], label: str, after: int = 2, times: int = 1
) -> Iterator[None]:
    """Do something with the process that runs a cell, once it has made so many steps; and with the next."""
    over = threading.Event()
    done: set[int] = set()

    def steps(path: Path) -> int:
        return max((event.step for event, _ in read_events(path) if isinstance(event, Measured)), default=0)

    def watch() -> None:
        while not over.wait(0.05):
            for path in folder.glob(f"{label}-*/{EVENTS}"):
                try:
                    pid = json.loads(path.parent.with_name(f".{path.parent.name}.lease").read_text())["pid"]
                except (OSError, ValueError):
                    continue
                if pid not in done and steps(path) >= after:
                    act(pid)
                    done.add(pid)
                    if len(done) == times:
                        return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def kill(pid: int) -> None:
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)


def test_processes_give_inline_s_numbers_though_a_worker_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ["seed=0..2", "train.steps=30", "train.eval_every=15"]
    inline = numbers(run(grid(tmp_path, "inline", *settings)))
    cells = grid(tmp_path, "processes", "run.parallel=2", *settings)
    with (
        caplog.at_level(logging.WARNING, "seqsuite"),
        once(tmp_path / "processes", kill, cells[0].label, after=4),
    ):
        assert numbers(run(cells)) == inline
    assert "seed0: its worker was killed by signal 9; the cell is tried again." in caplog.text
    assert len({json.dumps(metrics) for metrics in inline}) == 3


def test_a_cell_that_kills_its_workers_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forkserver.ensure_running()
    kill(forkserver._forkserver._forkserver_pid)  # and so does the server that forks them
    monkeypatch.setattr(processes, "RETRIES", 1)
    (long,) = grid(tmp_path, "processes", f"train.steps={LONG}", "run.parallel=2")
    others = grid(tmp_path, "processes", "seed=1,2", "run.parallel=2")
    with once(tmp_path / "processes", kill, long.label, times=2):
        failed, *rest = run([long, *others])
    assert failed.outcome == "failed"
    assert "its worker was killed by signal 9" in failed.message
    assert [result.outcome for result in rest] == ["finished", "finished"]


def test_who_asks_to_stop_finds_the_work_saved(tmp_path: Path) -> None:
    cells = grid(tmp_path, "processes", "seed=0..3", f"train.steps={LONG}", "run.parallel=2")
    flag = InterruptionFlag()

    def stop(pid: int) -> None:
        flag.requested = True

    with once(tmp_path / "processes", stop, cells[0].label), pytest.raises(Interrupted):
        run(cells, flag)
    (folder,) = (tmp_path / "processes").glob(f"{cells[0].label}-*")
    assert journal_status(folder) == "KILLED"
    assert list(folder.glob("step-*/manifest.json"))
    assert not list((tmp_path / "processes").glob(f"{cells[3].label}-*"))


def test_only_cells_for_gpus_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(device: str) -> list[str]:
        return base.visible_gpus(resolve({"task": "copying", "run.device": device}).run)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (seen("auto"), seen("cpu")) == (["0", "1"], [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,GPU-7")
    assert (seen("auto"), seen("cpu")) == (["GPU-5", "GPU-7"], [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (seen("auto"), seen("cpu")) == ([], [])


def test_what_a_machine_has_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "usable_cores", lambda: 8)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def plan(*settings: str) -> Plan:
        config = resolve(dict(setting.split("=") for setting in ["task=selective_copying", *settings]))
        host = Host(None, lambda *_: nullcontext(Callback()), illustrate, InterruptionFlag())
        return Plan(host, config.run)

    assert (plan().parallel(12), plan("run.executor=processes", "run.threads=2").parallel(12)) == (1, 4)
    assert plan("run.executor=processes").parallel(3) == 3
    assert plan("run.executor=processes", "run.parallel=3").threads(3) == 2
    assert plan("run.executor=processes", "run.threads=5").threads(8) == 5
    assert (plan().threads(8), plan().threads(9)) == (1, 1)
    monkeypatch.setattr(base, "visible_gpus", lambda run: ["0", "1"])
    shared = plan("run.executor=processes", "run.gpus=0.5").run
    assert (at_once(shared, 12), sharing(shared, 12)) == (4, 2)
    assert sharing(plan("run.executor=slurm", "run.parallel=9").run, 12) == 1
    assert at_once(plan("run.executor=processes").run, 12) == 2
    assert sharing(plan("run.executor=processes", "run.parallel=3").run, 12) == 2
    pairs = plan("run.executor=processes", "run.nproc=2").run
    assert (at_once(pairs, 12), sharing(pairs, 12)) == (1, 1)
    monkeypatch.setattr(base, "visible_gpus", lambda run: [])
    assert plan("run.executor=processes").parallel(12) == 8
    assert plan("run.executor=processes", "run.threads=9").parallel(12) == 1
    for address, ray in ((False, 8), (True, 1)):
        if address:
            monkeypatch.setenv("RAY_ADDRESS", "somewhere")
        assert sharing(plan("run.executor=ray").run, 12) == ray
        assert sharing(plan("run.executor=processes").run, 12) == 8


def test_workers_see_as_many_gpus_as_a_cell_has_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(nproc: int, workers: int) -> list[list[str]]:
        return base.gpus_of_workers(resolve({"task": "copying", "run.nproc": str(nproc)}).run, workers)

    monkeypatch.setattr(base, "visible_gpus", lambda run: ["5", "6", "7", "8"])
    assert seen(1, 5) == [["5"], ["6"], ["7"], ["8"], ["5"]]
    assert seen(2, 2) == [["5", "6"], ["7", "8"]]
    assert seen(6, 1) == [["5", "6", "7", "8"]]  # then the cell says what it lacks
    monkeypatch.setattr(base, "visible_gpus", lambda run: [])
    assert seen(2, 2) == [[], []]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["run.parallel=2"], "run.parallel=2 needs processes: add run.executor=processes"),
        (["run.executor=inline,processes"], "give run.executor a single value"),
        (["run.executor=processes", "run.threads=1,2"], "give run.threads a single value"),
        (["run.executor=processes", "run.nproc=1,2"], "give run.nproc a single value"),
        (["run.nproc=2", "run.gpus=0.5"], "Each process of run.nproc takes a GPU: leave out run.gpus"),
        (["run.executor=slurm", "run.gpus=0.5"], "Slurm gives whole GPUs: leave out run.gpus"),
    ],
)
def test_a_grid_has_one_executor(settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_cells(resolve_grid(expand_grid(["task=selective_copying", "scale=smoke", *settings])))


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_missing_is_named(name: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqsuite.experiments.executors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"needs {library}, .* pip install 'seqsuite\[{name}\]'"):
        check_executor(name)


def test_a_job_shows_no_password(tmp_path: Path) -> None:
    (cell,) = grid(tmp_path, "processes")
    host = Host(None, lambda *_: nullcontext(Callback()), illustrate, InterruptionFlag())
    address = StoreAddress("http://me:secret@127.0.0.1:9", "1", "e")
    job = Plan(host, cell.run).job(cell, 1)
    assert "secret" not in repr(pickle.loads(pickle.dumps((job, address))))


@pytest.mark.slow
def test_twelve_cells_have_the_same_numbers_through_every_executor(tmp_path: Path) -> None:
    settings = ["seed=0..5", "model=mamba,transformer", "train.steps=20"]
    inline = run(grid(tmp_path, "inline", *settings))
    expected = numbers(inline)
    assert len(expected) == 12
    took = {}
    for executor in ("processes", "ray", "slurm"):
        cells = grid(tmp_path, executor, "run.parallel=2", *settings)
        began = time.monotonic()
        # Ray's and Slurm's workers are killed as well.
        with once(tmp_path / executor, kill, cells[0].label, after=4):
            assert numbers(run(cells)) == expected, executor
        took[executor] = time.monotonic() - began
    print({executor: f"{seconds / 12:.1f} s a cell" for executor, seconds in took.items()})


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["ray", "slurm"])
def test_workers_elsewhere_stop_when_they_are_asked_to(tmp_path: Path, executor: str) -> None:
    cells = grid(tmp_path, executor, "seed=0,1", f"train.steps={LONG}", "run.parallel=2")
    flag = InterruptionFlag()

    def stop(pid: int) -> None:
        flag.requested = True

    with once(tmp_path / executor, stop, cells[0].label), pytest.raises(Interrupted):
        run(cells, flag)
    (folder,) = (tmp_path / executor).glob(f"{cells[0].label}-*")
    assert journal_status(folder) == "KILLED"
    assert list(folder.glob("step-*/manifest.json"))

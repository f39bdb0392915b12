"""What Slurm and Ray are asked for, and what becomes of jobs that die there: with stand-ins for both."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqsuite.experiments.cell import CellResult, Host
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.executors import make_executor
from seqsuite.experiments.executors.base import RETRIES, Plan
from seqsuite.experiments.executors.slurm import RequeuedJob
from seqsuite.experiments.executors.worker import Job
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.results.run_notes import illustrate

asked: dict[str, Any] = {}
connected: dict[str, Any] = {}
attempts: list[int] = []
cancelled: list[int] = []
lives: Iterator[bool] = iter(())


class Ended:
    """A job that has ended, well or not."""

    job_id = "7_0"

    def __init__(self, job: Job) -> None:
        attempts.append(job.attempt)
        self.state = "PENDING" if job.config.seed == 0 else "RUNNING"
        self._job, self._lived = job, next(lives)

    def done(self) -> bool:
        return True

    def exception(self) -> Exception | None:
        return None if self._lived else RuntimeError("the node is gone")

    def cancel(self) -> None:
        cancelled.append(self._job.config.seed)

    def result(self) -> CellResult:
        return CellResult(self._job.config, "finished", "a run", "")


class StandIn:
    cluster = "slurm"

    def __init__(self, folder: Path) -> None:
        asked.clear()
        attempts.clear()

    def update_parameters(self, **parameters: Any) -> None:
        asked.update(parameters)

    def map_array(self, call: Callable[[Job], Any], jobs: list[Job]) -> list[Ended]:
        return [Ended(job) for job in jobs]

    def submit(self, call: Callable[[Job], Any], job: Job) -> Ended:
        return Ended(job)


class RayError(Exception):
    pass


def stand_in_for_ray() -> SimpleNamespace:
    def remote(**resources: Any) -> Callable[[Any], Any]:
        asked.clear()
        attempts.clear()
        asked.update(resources)
        return lambda call: SimpleNamespace(remote=Ended)

    def wait(running: list[Ended], timeout: float) -> tuple[list[Ended], list[Ended]]:
        asked["running"] = max(len(running), asked.get("running", 0))
        return running[:1], running[1:]

    def get(job: Ended) -> CellResult:
        if job.exception() is not None:
            raise RayError
        return job.result()

    return SimpleNamespace(
        init=connected.update,
        shutdown=lambda: None,
        remote=remote,
        wait=wait,
        get=get,
        exceptions=SimpleNamespace(RayError=RayError),
    )


def run(
    monkeypatch: pytest.MonkeyPatch,
    executor: str,
    folder: Path,
    alive: list[bool],
    *settings: str,
    ray_address: str | None = None,
    stop: bool = False,
) -> list[CellResult]:
    for name in (
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        "RAY_worker_niceness",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
    ):
        monkeypatch.setenv(name, "put back after the test")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if ray_address is not None:
        monkeypatch.setenv("RAY_ADDRESS", ray_address)
    connected.clear()
    monkeypatch.setitem(sys.modules, "ray", stand_in_for_ray())
    monkeypatch.setattr("submitit.AutoExecutor", StandIn)
    monkeypatch.setattr("seqsuite.experiments.executors.slurm.POLL_SECONDS", 0.0)
    monkeypatch.setitem(globals(), "lives", iter(alive))
    cells = resolve_grid(
        expand_grid(
            [
                *["task=selective_copying", "scale=smoke"],
                *[f"run.executor={executor}", f"run.output={folder}", *settings],
            ]
        )
    )
    host = Host(None, lambda *_: nullcontext(Callback()), illustrate, InterruptionFlag())
    host.interruption.requested = stop
    return list(make_executor(cells[0].run.executor, Plan(host, cells[0].run)).run(cells, host.interruption))


def test_slurm_runs_all_cells_at_once_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = run(monkeypatch, "slurm", tmp_path, [True] * 3, "seed=0..2")
    assert [result.outcome for result in results] == ["finished"] * 3
    assert (asked["slurm_array_parallelism"], asked["cpus_per_task"]) == (3, 1)
    assert asked["timeout_min"] == 1440  # a day
    assert "gpus_per_node" not in asked
    run(monkeypatch, "slurm", tmp_path, [True] * 3, "seed=0..2", "run.parallel=2", "run.threads=5")
    assert (asked["slurm_array_parallelism"], asked["cpus_per_task"]) == (2, 5)


def test_ray_runs_as_many_cells_at_once_as_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = ["seed=0..4", "run.parallel=2", "run.threads=3"]
    monkeypatch.setattr("seqsuite.experiments.executors.ray.usable_cores", lambda: 100)
    results = run(monkeypatch, "ray", tmp_path, [True] * 5, *settings)
    assert [result.outcome for result in results] == ["finished"] * 5
    assert (asked["running"], asked["num_cpus"], asked["max_retries"]) == (2, 3, 0)
    assert asked["num_gpus"] == 0
    assert connected["address"] == "local"
    assert connected["num_cpus"] == 100
    assert connected["include_dashboard"] is False


@pytest.mark.parametrize(("executor", "how"), [("slurm", "Slurm job 7_0, RuntimeError"), ("ray", "RayError")])
def test_a_cell_whose_jobs_die_is_tried_again_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executor: str, how: str
) -> None:
    (lucky,) = run(monkeypatch, executor, tmp_path, [False, True])
    assert (lucky.outcome, attempts) == ("finished", [0, 1])
    (lost,) = run(monkeypatch, executor, tmp_path, [False] * (RETRIES + 1))
    assert (lost.outcome, attempts) == ("failed", list(range(RETRIES + 1)))
    assert f"({how}), 3 times" in lost.message
    assert list(tmp_path.glob(f".{executor}-*")) == []


def test_a_ray_cluster_runs_all_cells_at_once_unless_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("seqsuite.experiments.executors.ray.usable_cores", lambda: 1)
    monkeypatch.setattr("seqsuite.experiments.executors.base.visible_gpus", lambda run: ["0"])
    settings = ["seed=0..3", "run.threads=2"]
    for parallel, expected in (([], 4), (["run.parallel=2"], 2)):
        run(monkeypatch, "ray", tmp_path, [True] * 4, *settings, *parallel, ray_address="there")
        assert (asked["running"], asked["num_cpus"], asked["num_gpus"]) == (expected, 2, 1)
        assert connected["address"] == "there"
        assert "num_cpus" not in connected
        assert connected["include_dashboard"] is None
    run(monkeypatch, "ray", tmp_path, [True] * 4, *settings, "run.gpus=0.5", "run.parallel=3")
    assert (asked["num_gpus"], connected["num_cpus"]) == (0.5, 6)
    monkeypatch.setattr("seqsuite.experiments.executors.base.visible_gpus", lambda run: [])
    for device, expected in (("cuda", 1), ("auto", 0)):
        run(monkeypatch, "ray", tmp_path, [True] * 4, *settings, f"run.device={device}", ray_address="there")
        assert asked["num_gpus"] == expected


def test_a_cell_of_several_processes_asks_a_cluster_for_a_gpu_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It stops then for want of a GPU here; what was asked for is what counts."""
    settings = ["run.device=cuda", "run.nproc=2"]
    run(monkeypatch, "slurm", tmp_path, [True], *settings)
    assert asked["gpus_per_node"] == 2
    run(monkeypatch, "ray", tmp_path, [True], *settings, ray_address="there")
    assert asked["num_gpus"] == 2


def test_a_cell_that_was_lost_is_the_next_to_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = run(monkeypatch, "ray", tmp_path, [False, True, True], "seed=0,1", "run.parallel=1")
    assert attempts == [0, 1, 0]
    assert [result.config.seed for result in results] == [0, 1]


def test_jobs_that_wait_are_cancelled_when_all_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cancelled.clear()
    with pytest.raises(Interrupted):
        run(monkeypatch, "slurm", tmp_path, [False, True], "seed=0,1", stop=True)
    assert (cancelled, attempts) == ([0], [0, 0])
    with pytest.raises(Interrupted):
        run(monkeypatch, "ray", tmp_path, [True, True], "seed=0,1", stop=True)
    assert attempts == []


def test_slurm_is_asked_for_a_gpu_and_queues_what_it_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("submitit.helpers.DelayedSubmission", lambda *given: calls.append(given))
    run(monkeypatch, "slurm", tmp_path, [True], "run.device=cuda")
    assert asked["gpus_per_node"] == 1
    job = Job(None, 1, None, illustrate, False, False, None, tmp_path)  # type: ignore[arg-type]
    RequeuedJob().checkpoint(job)
    [(call, again)] = calls
    assert isinstance(call, RequeuedJob)
    assert (job.attempt, again.attempt, again.folder) == (0, 1, tmp_path)

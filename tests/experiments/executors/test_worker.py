"""What a worker does with the job it is given, in this process."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.executors import worker
from seqsuite.experiments.executors.worker import Job, run_job, run_shared_job, using_threads
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.results.run_notes import illustrate

SETTINGS = {
    "task": "selective_copying",
    "scale": "smoke",
    "task.length": "12",
    "task.eval_examples": "8",
    "model.d_model": "8",
    "train.steps": "2",
    "train.eval_every": "2",
    "run.sample_length": "4",
}
DIVERGES: dict[str, Any] = {
    "train.learning_rate": "1e30",
    "train.clip": None,
    "train.warmup": "0",
    "train.steps": "6",
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # and back, as a job changes it


def job(folder: Path, settings: dict[str, Any] | None = None, **changes: Any) -> Job:
    made = Job(
        config=resolve(SETTINGS | (settings or {}) | {"run.output": str(folder / "runs")}),
        threads=1,
        store=None,
        illustrate=illustrate,
        takeover=False,
        retry_failed=False,
        parent_run_id=None,
        folder=folder,
    )
    return replace(made, **changes)


def test_a_cell_is_run_once(tmp_path: Path) -> None:
    flag = InterruptionFlag()
    assert run_job(job(tmp_path), flag).outcome == "finished"
    assert run_job(job(tmp_path), flag).outcome == "skipped"


def test_a_cell_that_diverged_is_tried_again_only_if_that_is_asked_for(tmp_path: Path) -> None:
    flag = InterruptionFlag()

    def message(**changes: Any) -> str:
        result = run_job(job(tmp_path, DIVERGES, **changes), flag)
        assert result.outcome == "diverged"
        return result.message

    assert "--retry-failed" not in message()
    assert "--retry-failed" in message()  # which says that it was not tried
    assert "--retry-failed" in message(retry_failed=True, attempt=1)
    assert "--retry-failed" not in message(retry_failed=True)


def test_a_job_stops_with_its_file(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    endless = job(tmp_path, {"train.steps": "100000", "train.eval_every": "100000"}, stop_file=stop)

    def ask() -> None:
        while not list(tmp_path.glob("runs/*/events.jsonl")):
            time.sleep(0.05)
        stop.touch()

    asking = threading.Thread(target=ask)
    asking.start()
    assert run_shared_job(endless) is None
    asking.join()
    assert list(tmp_path.glob("runs/*/step-*/manifest.json"))


def test_threads_are_a_jobs_and_then_what_they_were() -> None:
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with using_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_a_cell_that_a_dead_worker_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is out after a minute: ten seconds more are waited, by a clock of ten seconds a look."""
    clock, outcomes, flag = [0], iter(()), InterruptionFlag()

    def run_cell(config: Any, host: Any, *, parent_run_id: str | None) -> Any:
        return SimpleNamespace(outcome=next(outcomes, "busy"))

    monkeypatch.setattr(worker, "run_cell", run_cell)
    sleep = lambda seconds: clock.append(clock[-1] + 10)  # noqa: E731
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: clock[-1], sleep=sleep))
    assert run_job(job(tmp_path), flag).outcome == "busy"
    assert clock == [0]
    assert run_job(job(tmp_path, attempt=1), flag).outcome == "busy"
    assert clock[-1] == 80
    outcomes = iter(["busy", "busy", "finished"])
    assert run_job(job(tmp_path, attempt=1), flag).outcome == "finished"
    assert clock[-1] == 100
    flag.requested = True
    with pytest.raises(Interrupted):
        run_job(job(tmp_path, attempt=1), flag)

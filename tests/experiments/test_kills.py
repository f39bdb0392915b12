"""Real processes, killed at steps and inside writes: the same command ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqsuite.experiments.tracking.store import Store, open_store

from .cells import TIMED
from .server import Server, eventually

EVERY = 2  # steps between checkpoints
STEPS = 8
SMALL = [
    "scale=smoke",
    f"train.steps={STEPS}",
    "train.eval_every=3",
    "train.batch_size=2",
    "train.eval_batch_size=2",
    "model.d_model=16",
    "model.n_layer=1",
    "run.sample_length=8",
    "run.memory=ignore",
    f"run.checkpoint_every={EVERY}",
]
TASKS = {
    "selective_copying": ["task.eval_examples=4"],
    "text": ["task.path=words.txt", "task.seqlen=32"],
    "dna": ["task.path=genome.fa", "task.seqlen=32"],
    "piano": ["task.path=tone.wav", "task.seqlen=64"],
}
QUICK = [("text", "mamba")]  # of the matrix, in the fast suite
MATRIX = [
    pytest.param(task, model, marks=[] if (task, model) in QUICK else pytest.mark.slow)
    for task in TASKS
    for model in ("mamba", "s4", "transformer")
]


class Cradle:
    """Starts ``seqsuite`` in processes of their own, in one folder with one MLflow store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = Path(__file__).with_name("cradle.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        )

    def start(self, *arguments: str, environment: dict[str, str] | None = None, **plan: Any) -> int:
        plan.setdefault("log", str(self.folder / "steps.txt"))
        request = {
            "run": arguments,
            "folder": str(self.folder),
            "environment": environment or {},
            "plan": plan,
        }
        return self._ask(request)

    def wait(self, process: int) -> int:
        return self._ask({"wait": process})

    def run(self, *arguments: str, **options: Any) -> int:
        return self.wait(self.start(*arguments, **options))

    def paused(self, step: int, *arguments: str, environment: dict[str, str] | None = None) -> int:
        """Start a process, and return its id when it waits after a step; :meth:`go` lets it go on."""
        (self.folder / "go").unlink(missing_ok=True)
        (self.folder / "steps.txt").write_text("")
        process = self.start(*arguments, at="pause", number=step, environment=environment)
        eventually(lambda: f"{step}\n" in (self.folder / "steps.txt").read_text(), 120)
        return process

    def go(self) -> None:
        (self.folder / "go").touch()

    def output(self) -> str:
        """Return what the processes have printed since this was asked last."""
        path = self.folder / "output.txt"
        text = path.read_text()
        path.write_text("")
        return text

    def steps(self) -> list[int]:
        """Return the steps that the processes have taken since this was asked last."""
        path = self.folder / "steps.txt"
        text = path.read_text()
        path.write_text("")
        return [int(line) for line in text.splitlines()]

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def cradle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cradle]:
    folder = tmp_path_factory.mktemp("kills")
    draw = np.random.default_rng(0)
    (folder / "words.txt").write_text("many words of all kinds, many words. " * 100)
    (folder / "genome.fa").write_text(">a\n" + "".join(draw.choice(list("ACGT"), 4000)) + "\n")
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes((8000 * np.sin(np.arange(16000) / 7)).astype("<i2").tobytes())
    made = Cradle(folder)
    yield made
    made.close()


@pytest.fixture
def open_here(cradle: Cradle, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Store]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(cradle.folder)
    return open_store


def command(task: str, model: str, experiment: str, *more: str) -> list[str]:
    """Return the command of a cell, recorded in an experiment and a folder of its own."""
    settings = [f"task={task}", f"model={model}", *TASKS[task], *SMALL]
    return ["run", *settings, f"run.experiment={experiment}", f"run.output={experiment}", *more]


def deaths(seed: str) -> list[dict[str, Any]]:
    """Return where to die, one time after the other."""
    draw = random.Random(seed)
    return [
        {"at": "step", "number": draw.randint(2, 5)},
        {"at": "checkpoint", "number": draw.randint(1, 25), "after": draw.random() < 0.5},
        {"at": "file", "number": draw.randint(1, 25), "after": draw.random() < 0.5},
    ]


def record(store: Store, folder: Path) -> tuple[dict[str, list[tuple[int, float]]], bytes]:
    """Return the curves of the one finished run, with doubled points, and the bytes of its weights."""
    (run,) = store.search("")
    assert run.status == "FINISHED"
    curves = {
        key: [(point.step, point.value) for point in store.client.get_metric_history(run.run_id, key)]
        for key in run.metrics
        if key not in TIMED
    }
    return curves, (store.model_folder(run.run_id, folder) / "model.safetensors").read_bytes()


def assert_little_is_repeated(lives: Sequence[Sequence[int]]) -> None:
    """Assert that no life begins further back than ``EVERY`` steps."""
    done = 0
    for steps in lives:
        if steps:
            assert done - EVERY < steps[0] <= done + 1
            done = max(done, steps[-1])
    assert done == STEPS


@pytest.mark.parametrize(("task", "model"), MATRIX)
def test_after_kills_all_is_as_in_a_quiet_run(
    cradle: Cradle, open_here: Callable[[str], Store], tmp_path: Path, task: str, model: str
) -> None:
    name = f"{task}-{model}"
    assert cradle.run(*command(task, model, f"{name}-quiet")) == 0, cradle.output()
    assert cradle.steps() == list(range(1, STEPS + 1))
    killed, lives = command(task, model, f"{name}-killed"), []
    for death in deaths(name):
        assert cradle.run(*killed, **death) in (-9, 0), cradle.output()
        lives.append(cradle.steps())
    assert cradle.run(*killed) == 0, cradle.output()
    assert_little_is_repeated([*lives, cradle.steps()])
    expected = record(open_here(f"{name}-quiet"), tmp_path / "quiet")
    assert record(open_here(f"{name}-killed"), tmp_path / "killed") == expected
    left = {path.name for path in (cradle.folder / f"{name}-killed").iterdir()}
    assert left <= {".leases.lock"}


def finished(store: Store) -> dict[str, list[int]]:
    """Return at which steps each metric of the one run was recorded, doubled points too."""
    (run,) = store.search("")
    assert run.status == "FINISHED"
    return {
        key: sorted(point.step for point in store.client.get_metric_history(run.run_id, key))
        for key in ("train/loss", "train/speed", "validation/loss")
    }


WHOLE = {
    "train/loss": list(range(1, STEPS + 1)),
    "train/speed": list(range(1, STEPS + 1)),
    "validation/loss": [3, 6, STEPS],
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_the_command_goes_on(
    cradle: Cradle, open_here: Callable[[str], Store], number: signal.Signals
) -> None:
    command_line = command("text", "transformer", number.name)
    process = cradle.paused(5, *command_line)
    os.kill(process, number)
    cradle.go()
    assert cradle.wait(process) == 130
    assert "the work so far is saved" in cradle.output()
    assert cradle.steps() == [1, 2, 3, 4, 5]
    assert open_here(number.name).search("")[0].status == "KILLED"
    assert cradle.run(*command_line) == 0
    assert cradle.steps() == [6, 7, 8]
    assert finished(open_here(number.name)) == WHOLE


@pytest.mark.slow
def test_of_two_processes_one_runs_a_cell_and_the_other_says_so(
    cradle: Cradle, open_here: Callable[[str], Store]
) -> None:
    command_line = command("text", "transformer", "two")
    first = cradle.paused(3, *command_line)
    assert cradle.run(*command_line) == 1
    assert f"is being run by process {first}" in cradle.output()
    cradle.go()
    assert cradle.wait(first) == 0
    assert finished(open_here("two")) == WHOLE


@pytest.mark.slow
def test_a_cell_that_is_taken_over_is_finished_once(
    cradle: Cradle, open_here: Callable[[str], Store]
) -> None:
    command_line = command("text", "transformer", "taken")
    first = cradle.paused(5, *command_line)
    assert cradle.run(*command_line, "--takeover") == 0
    time.sleep(6)  # a beat of the first one's lease, which tells it
    cradle.go()
    assert cradle.wait(first) == 1
    assert "was taken over by another process" in cradle.output()
    assert finished(open_here("taken")) == WHOLE


def test_without_a_server_a_cell_is_refused_or_kept_for_later(
    cradle: Cradle, open_here: Callable[[str], Store]
) -> None:
    command_line = command("text", "transformer", "offline")
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    assert cradle.run(*command_line, environment=nowhere) == 2
    refused = cradle.output()
    assert "no server answers there" in refused
    assert "--offline" in refused
    assert cradle.run(*command_line, "--offline", environment=nowhere) == 0
    assert cradle.run("sync", "offline", environment=nowhere) == 1
    assert "could not be sent" in cradle.output()
    assert cradle.run("sync", "offline") == 0
    assert finished(open_here("offline")) == WHOLE


def test_where_nothing_more_can_be_written_a_cell_fails_and_goes_on(cradle: Cradle) -> None:
    command_line = command("text", "transformer", "full", "--offline")
    assert cradle.run(*command_line, limit=24_000) == 1
    told = cradle.output()
    assert "cannot be written: File too large; make room" in told
    assert "Traceback" not in told
    assert cradle.run(*command_line) == 0, cradle.output()


@pytest.mark.slow
def test_a_server_that_dies_costs_nothing_but_its_record(cradle: Cradle, server: Server) -> None:
    environment = {"MLFLOW_TRACKING_URI": server.uri}
    # It comes back before the run ends.
    process = cradle.paused(3, *command("text", "transformer", "outage"), environment=environment)
    server.kill()
    time.sleep(10)
    server.start()
    cradle.go()
    assert cradle.wait(process) == 0, cradle.output()
    assert finished(open_store("outage")) == WHOLE
    # It does not, and the run ends.
    gone = command("text", "transformer", "gone")
    process = cradle.paused(3, *gone, environment=environment)
    server.kill()
    cradle.go()
    assert cradle.wait(process) == 1
    assert "send them with `seqsuite sync`" in cradle.output()
    server.start()
    assert cradle.run("sync", "gone", environment=environment) == 0
    assert finished(open_store("gone")) == WHOLE
    # It does not, and the run is stopped: at once, with a checkpoint.
    halted = command("text", "transformer", "halted")
    process = cradle.paused(5, *halted, environment=environment)
    server.kill()
    os.kill(process, signal.SIGINT)
    cradle.go()
    assert cradle.wait(process) == 130
    assert list((cradle.folder / "halted").glob("*/step-000000005/manifest.json"))
    server.start()
    assert cradle.run(*halted, environment=environment) == 0
    assert finished(open_store("halted")) == WHOLE

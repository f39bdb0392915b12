"""Real processes, killed at steps and inside writes: the same command ends as if nothing had happened."""

import json
import os
import random
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import Store, open_store

EVERY = 2  # steps between checkpoints
STEPS = 8
TIMED = (
    schema.SPEED,
    schema.TRAIN_SECONDS,
    schema.TOKENS_PER_SECOND,
    schema.INPUT_WAIT,
    schema.PEAK_MEMORY,
    schema.FLOPS_PER_SECOND,
)
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
    """Assert that no life begins further back than a checkpoint, and the steps while it was written."""
    done = 0
    for steps in lives:
        if steps:
            assert done - 2 * EVERY < steps[0] <= done + 1
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

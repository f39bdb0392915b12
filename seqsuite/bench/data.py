"""``seqsuite bench data``: how fast each task makes its batches, and how long models wait for them."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import torch

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say
from seqsuite.bench.settings import Settings
from seqsuite.bench.training import make_trainer
from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.training.batches import TensorBatch, to_tensors
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.placement import split_rows
from seqsuite.experiments.training.trainer import Trainer
from seqsuite.models import MODELS
from seqsuite.report import Column, Report, Row, Section
from seqsuite.tasks import TASKS
from seqsuite.tasks.base import Task

STEPS, QUICK_STEPS = 10, 2
"""Steps that are timed of each training, after the warm-up."""
WARM_UP = 2  # steps
LOADING_S, QUICK_LOADING_S = 1.0, 0.05
"""For how long a loader makes batches."""

_LOADERS = (
    Column("task", "task"),
    Column("batch", "batch"),
    Column("batches_per_s", "batches/s", "quantity"),
    Column("rows_per_s", "rows/s", "quantity"),
    Column("mb_per_s", "MB/s", "quantity"),
    Column("model", "fastest model"),
    Column("steps_per_s", "its steps/s", "quantity"),
    Column("ratio", "times as fast", "ratio"),
)
_WAITS = (
    Column("task", "task"),
    Column("model", "model"),
    Column("step_s", "a step", "seconds"),
    Column("wait_s", "wait for data", "seconds"),
    Column("percent", "% of training", "number"),
)


class Loading(NamedTuple):
    """Batches, rows and 10⁶ bytes a second, and the shape of a batch's input."""

    batches: float
    rows: float
    megabytes: float
    shape: tuple[int, ...]


class Training(NamedTuple):
    """Seconds of a step, and of those the ones that the model waited for data."""

    step: float
    wait: float


def run(settings: Settings, say: Say) -> Report:
    """Time each task's loader by itself, and short trainings of models, at the same scale.

    Raises:
        UserError: a model was asked for that is not known, or no task's data is here.
    """
    models = settings.peers or MODELS.names()
    for name in models:
        MODELS.load(name)
    scale = "smoke" if settings.quick else "cpu"
    loadings: dict[str, Loading] = {}
    trainings: dict[str, dict[str, Training]] = {}
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        for name in TASKS.names():
            say(f"{name}: its data")
            common = {"task": name, "scale": scale, "run.output": folder}
            config = resolve({**common, "model": models[0]})
            try:
                task = config.make_task()
                loadings[name] = _loading(task, config.train.batch_size, settings)
            except UserError as error:
                notes.append(f"{name} is left out: {error}")
                continue
            trainings[name] = {}
            for model in models:
                say(f"{name}: {model}")
                trainings[name][model] = _training({**common, "model": model}, task, settings)
    if not loadings:
        raise UserError(" ".join(notes))
    sections = _sections(loadings, trainings, scale, notes)
    return Report(settings.command, describe_machine(settings.device, settings.threads), sections)


def _sections(
    loadings: Mapping[str, Loading],
    trainings: Mapping[str, Mapping[str, Training]],
    scale: str,
    notes: list[str],
) -> list[Section]:
    loaders: list[Row] = []
    for name, loading in loadings.items():
        model, fastest = min(trainings[name].items(), key=lambda item: item[1].step)
        loaders.append(
            {
                "task": name,
                "batch": " × ".join(map(str, loading.shape)),
                "batches_per_s": loading.batches,
                "rows_per_s": loading.rows,
                "mb_per_s": loading.megabytes,
                "model": model,
                "steps_per_s": 1 / fastest.step,
                "ratio": loading.batches * fastest.step,
            }
        )
    waits: list[Row] = [
        {
            "task": name,
            "model": model,
            "step_s": training.step,
            "wait_s": training.wait,
            "percent": 100 * training.wait / training.step,
        }
        for name, models in trainings.items()
        for model, training in models.items()
    ]
    of_loaders = ["In one thread, with nothing made ahead; bytes are those of the tensors.", *notes]
    of_waits = ["Batches are made ahead in a thread while the model computes."]
    return [
        Section("loaders", f"Loaders of scale={scale}", _LOADERS, loaders, of_loaders),
        Section("waits", f"Waiting for data, scale={scale}", _WAITS, waits, of_waits),
    ]


def _loading(task: Task, batch_size: int, settings: Settings) -> Loading:
    """Make the batches of one step after the other for a while."""
    device = torch.device(settings.device)
    first = _step_of(task, 0, batch_size, device)  # what is read or computed once
    started = time.perf_counter()
    seconds, count, size = 0.0, 0, 0
    while seconds < (QUICK_LOADING_S if settings.quick else LOADING_S):
        count += 1
        batch = _step_of(task, count, batch_size, device)
        size += batch.inputs.nbytes + batch.targets.nbytes
        seconds = time.perf_counter() - started
    return Loading(
        count / seconds, count * batch_size / seconds, size / seconds / 1e6, tuple(first.inputs.shape)
    )


def _step_of(task: Task, step: int, batch_size: int, device: torch.device) -> TensorBatch:
    (rows,) = split_rows(range(step * batch_size, (step + 1) * batch_size), 1)
    return to_tensors(task.train_batch(rows), device)


def _training(cell: Mapping[str, str], task: Task, settings: Settings) -> Training:
    """Train for some steps, and return what one took on average."""
    flag = InterruptionFlag()
    watch = _Watch(flag, WARM_UP + (QUICK_STEPS if settings.quick else STEPS))
    config = resolve({**cell, "train.eval_every": str(10**9), "train.accumulate": "1"})
    trainer = make_trainer(config, task, settings.device, [watch])
    watch.trainer = trainer
    with suppress(Interrupted):  # as was asked for
        trainer.train(flag)
    return watch.training()


class _Watch(Callback):
    """Notes a training's times, and stops it after some steps."""

    trainer: Trainer

    def __init__(self, flag: InterruptionFlag, steps: int) -> None:
        self._flag, self._steps = flag, steps
        self._seconds: list[tuple[float, float]] = []

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Note the times."""
        progress = self.trainer.progress
        self._seconds.append((progress.seconds, progress.waited))
        self._flag.requested = len(self._seconds) >= self._steps

    def training(self) -> Training:
        """Return the average after the warm-up."""
        (first, waited), (last, waited_last) = self._seconds[WARM_UP - 1], self._seconds[-1]
        steps = len(self._seconds) - WARM_UP
        return Training((last - first) / steps, (waited_last - waited) / steps)

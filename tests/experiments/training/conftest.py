"""A tiny task and trainers for it, without tracking."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.rhythm import CheckpointRhythm
from seqsuite.experiments.training.trainer import Parts, Trainer
from seqsuite.graphs import Recorder
from seqsuite.models.build import build_shaped
from seqsuite.tasks.base import Task

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(tmp_path: Path) -> MakeTrainer:
    """Return a function that makes a trainer of a small model in a folder, for settings."""

    def make(
        folder: str = "run",
        *,
        task: Task | None = None,
        callbacks: Sequence[Callback] = (),
        dtype: torch.dtype = torch.float32,
        checkpoint_every: int | None = None,
        recorder: Recorder | None = None,
        **settings: Any,
    ) -> Trainer:
        quick = {"task": "selective_copying", "task.length": "12", "task.num_tokens": "4"} if not task else {}
        keys = {key.replace("__", "."): value for key, value in settings.items()}
        config = resolve({"task": "selective_copying", "scale": "smoke", **quick, **keys})
        task = task or config.make_task()
        torch.manual_seed(config.seed)
        model = build_shaped(config.model, shape_of(task.io)).to(dtype)
        parts = Parts(
            task,
            model,
            objective_for(task),
            Single(torch.device("cpu"), config.train),
            Checkpoints(tmp_path / folder, config, shape_of(task.io)),
            CheckpointRhythm(checkpoint_every),
            callbacks,
            recorder,
        )
        return Trainer(config.train, parts)

    return make

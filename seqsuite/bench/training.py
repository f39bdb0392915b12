"""Training as :mod:`seqsuite.experiments.cell` does it, without what keeps and records it."""

from collections.abc import Sequence

import torch

from seqsuite.experiments.checkpoints import Checkpoints, Snapshot
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.rhythm import CheckpointRhythm
from seqsuite.experiments.training.trainer import Parts, Trainer
from seqsuite.models.build import build_shaped
from seqsuite.tasks.base import Task


class NoCheckpoints(Checkpoints):
    """Keeps nothing."""

    def save(self, snapshot: Snapshot) -> None:
        """Forget the snapshot."""


def make_trainer(
    config: CellConfig,
    task: Task,
    device: str,
    callbacks: Sequence[Callback],
    *,
    checkpoints: type[Checkpoints] = NoCheckpoints,
    rhythm: CheckpointRhythm | None = None,
) -> Trainer:
    """Return what trains a cell, with a fresh model.

    Args:
        config: The cell; checkpoints go to its output folder.
        task: Its task.
        device: Where to compute.
        callbacks: Who is told.
        checkpoints: What keeps checkpoints.
        rhythm: How often.
    """
    shape = shape_of(task.io)
    torch.manual_seed(config.seed)
    model = build_shaped(config.model, shape)
    placement = Single(torch.device(device), config.train)
    placement.place(model)
    kept = checkpoints(config.run.output, config, shape)
    rhythm = rhythm or CheckpointRhythm()
    parts = Parts(task, model, objective_for(task), placement, kept, rhythm, callbacks)
    return Trainer(config.train, parts)

"""From a cell's settings and a placement to its trainer: the same on every process that trains it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.callbacks import Callback, Patience
from seqsuite.experiments.training.initial import load_backbone
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import Placement
from seqsuite.experiments.training.rhythm import CheckpointRhythm
from seqsuite.experiments.training.trainer import Parts, Trainer
from seqsuite.graphs import recorder_for
from seqsuite.models.build import build_shaped
from seqsuite.models.split import kept_for_recomputation
from seqsuite.tasks.base import Task


def assemble(
    config: CellConfig,
    task: Task,
    placement: Placement,
    folder: Path,
    callbacks: Sequence[Callback],
    found: Path | None = None,
) -> Trainer:
    """Return the trainer of a cell.

    Args:
        config: The cell.
        task: Its task.
        placement: Where to train.
        folder: Where checkpoints go.
        callbacks: Who is told besides; as many on every process.
        found: The checkpoint to go on from, if any.

    Raises:
        UserError: if model and placement do not fit, or the checkpoint cannot be read.
    """
    shape = shape_of(task.io)
    torch.manual_seed(config.seed)
    model = build_shaped(config.model, shape)
    if config.train.init is not None and found is None:
        load_backbone(model, config.train.init, config.run.experiment)
    if config.train.checkpoint_activations:
        for block in model.blocks.layers():
            recompute(block)
    model = placement.place(model)
    told = list(callbacks)
    if config.train.patience is not None:
        metric = task.metrics[0]
        told.append(Patience(config.train.patience, metric.name, metric.higher_is_better))
    parts = Parts(
        task,
        model,
        objective_for(task),
        placement,
        Checkpoints(folder, config, shape, shards=placement.shards),
        CheckpointRhythm(config.run.checkpoint_every, config.run.checkpoint_seconds),
        told,
        recorder_for(placement.device),
    )
    trainer = Trainer(config.train, parts)
    if found is not None:
        trainer.resume(found)
    return trainer


def recompute(module: nn.Module) -> None:
    """Have a module keep its inputs only, and be computed again for the backward pass (arXiv 1604.06174)."""
    forward = module.forward

    def call(*arguments: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments)
        return checkpoint(forward, *arguments, use_reentrant=False, context_fn=kept_for_recomputation)

    module.forward = call  # hooks, as placements use them, stay outside

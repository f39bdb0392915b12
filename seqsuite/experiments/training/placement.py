"""Where a model is trained, and which rows of a step are computed there."""

from typing import Protocol

import torch
from torch import nn

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.objectives import Sums
from seqsuite.tasks.base import ModelIO


class Placement(Protocol):
    """Where the parts of a model and of a batch are.

    Attributes:
        device: Where this process computes.
        rank: Number of this process.
        world: How many processes train the model.
    """

    device: torch.device
    rank: int
    world: int

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model on its device or devices."""

    def rows(self, step: int) -> list[range]:
        """Return the rows of each micro-batch of this process at a step; those of all are the batch."""

    def reduce(self, sums: Sums) -> Sums:
        """Return the totals over all processes."""


class Single:
    """One process and one device.

    Args:
        device: Where to compute.
        config: Size of a step's batch, and in how many parts it is computed.
    """

    rank, world = 0, 1

    def __init__(self, device: torch.device, config: TrainConfig) -> None:
        self.device = device
        self._batch_size, self._parts = config.batch_size, config.accumulate

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model to the device."""
        return model.to(self.device)

    def rows(self, step: int) -> list[range]:
        """Return the rows of each micro-batch of a step."""
        return split_rows(range(step * self._batch_size, (step + 1) * self._batch_size), self._parts)

    def reduce(self, sums: Sums) -> Sums:
        """Return the totals as they are."""
        return sums


def split_rows(rows: range, parts: int) -> list[range]:
    """Return rows cut into equal parts."""
    size = len(rows) // parts
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def check_batches(config: TrainConfig, io: ModelIO) -> None:
    """Refuse batches that cannot be cut into equal parts, or that are not the task's lanes.

    Raises:
        UserError: naming the settings.
    """
    if config.batch_size % config.accumulate:
        raise UserError(
            f"train.batch_size={config.batch_size} cannot be cut into train.accumulate={config.accumulate} "
            "equal parts: choose a divisor."
        )
    if io.lanes is not None and io.lanes != config.batch_size:
        raise UserError(
            f"With task.carry_state=true a step's rows are the task's lanes: train.batch_size="
            f"{config.batch_size} and task.lanes={io.lanes} must be equal."
        )

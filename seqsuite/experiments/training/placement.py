"""Where a model is trained, and which rows of a step are computed there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig, TrainConfig
from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.experiments.training.forward import Forward
from seqsuite.experiments.training.objectives import Sums
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import ModelIO

if TYPE_CHECKING:
    from seqsuite.experiments.distributed.shards import Shards


class Placement(Protocol):
    """Where the parts of a model and of a batch are.

    Attributes:
        device: Where this process computes.
        rank: Number of this process.
        world: How many processes train the model.
        shards: How they write checkpoints together where what they train is split over them, else ``None``:
            then the first has everything, and writes it.
    """

    device: torch.device
    rank: int
    world: int
    shards: "Shards | None"

    def place(self, model: SequenceModel) -> SequenceModel:
        """Return the model on its device or devices."""

    def forward(self, model: SequenceModel) -> nn.Module:
        """Return what training calls for a placed model's outputs, as :class:`Forward` is called."""

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Return the context of a forward and a backward pass; after a step's last, gradients are sums."""

    def rows(self, step: int) -> list[range]:
        """Return the rows of each micro-batch of this process at a step; those of all are the batch."""

    def share(self, rows: range) -> range:
        """Return the rows of an evaluation's batch that this process scores; there may be none."""

    def part(self, batch: TensorBatch) -> TensorBatch:
        """Return this process's part of the sequences of its rows."""

    def reduce(self, sums: Sums) -> Sums:
        """Return the totals over all processes."""

    def agree(self, decisions: Sequence[bool]) -> list[bool]:
        """Return what the first process has decided."""

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows (B, …) of all processes, in the order of :meth:`rows`."""

    def whole(self, value: Tensor) -> Tensor:
        """Return all of a tensor that may be split over processes; every one of them must ask for it."""

    def cut(self, value: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a whole tensor, split as ``like`` is."""


class Single:
    """One process and one device.

    Args:
        device: Where to compute.
        config: Size of a step's batch, and in how many parts it is computed.
    """

    rank, world = 0, 1
    shards: "Shards | None" = None

    def __init__(self, device: torch.device, config: TrainConfig) -> None:
        self.device = device
        self._batch_size, self._parts = config.batch_size, config.accumulate

    def place(self, model: SequenceModel) -> SequenceModel:
        """Move the model to the device."""
        return model.to(self.device)

    def forward(self, model: SequenceModel) -> nn.Module:
        """Return the model's forward."""
        return Forward(model)

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Return a context in which gradients are added up, as they always are."""
        return nullcontext()

    def rows(self, step: int) -> list[range]:
        """Return the rows of each micro-batch of a step."""
        return split_rows(range(step * self._batch_size, (step + 1) * self._batch_size), self._parts)

    def share(self, rows: range) -> range:
        """Return all rows."""
        return rows

    def part(self, batch: TensorBatch) -> TensorBatch:
        """Return the batch as it is."""
        return batch

    def reduce(self, sums: Sums) -> Sums:
        """Return the totals as they are."""
        return sums

    def agree(self, decisions: Sequence[bool]) -> list[bool]:
        """Return the decisions as they are."""
        return list(decisions)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows as they are."""
        return rows

    def whole(self, value: Tensor) -> Tensor:
        """Return the tensor as it is."""
        return value

    def cut(self, value: Tensor, like: Tensor) -> Tensor:
        """Return the tensor as it is."""
        return value


def split_rows(rows: range, parts: int) -> list[range]:
    """Return rows cut into equal parts."""
    size = len(rows) // parts
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def share_of(rows: range, rank: int, world: int) -> range:
    """Return the rows of one of ``world`` processes, which have as many as each other, or one more."""
    return rows[len(rows) * rank // world : len(rows) * (rank + 1) // world]


def check_ranks(config: CellConfig, io: ModelIO, world: int) -> None:
    """Refuse what several processes cannot do together, or not in equal parts.

    Args:
        config: The cell.
        io: What its model takes and gives.
        world: Number of processes.

    Raises:
        UserError: naming the settings.
    """
    train, parts = config.train, config.run.sequence_parallel
    if world % parts:
        raise UserError(
            f"run.sequence_parallel={parts} does not divide the {world} processes: choose a divisor."
        )
    equal = train.accumulate * world // parts
    if train.batch_size % equal:
        raise UserError(
            f"train.batch_size={train.batch_size} cannot be cut into {equal} equal parts, for "
            f"{world // parts} groups of processes and train.accumulate={train.accumulate}: choose a "
            f"multiple of {equal}."
        )
    if parts > 1 and (io.lanes is not None or train.chunk is not None):
        raise UserError(
            "run.sequence_parallel splits whole sequences: leave out task.carry_state and train.chunk."
        )
    if parts > io.seqlen:
        raise UserError(f"run.sequence_parallel={parts} is more than the {io.seqlen} positions there are.")
    if world > 1 and config.run.distributed == "fsdp2":
        for setting, refused in (
            ("train.optimizer=muon", train.optimizer == "muon"),
            ("train.precision=fp16", train.precision == "fp16"),
        ):
            if refused:
                raise UserError(f"{setting} needs whole gradients: use run.distributed=ddp.")


def check_batches(config: TrainConfig, io: ModelIO) -> None:
    """Refuse batches that cannot be cut into equal parts, or that are not the task's lanes.

    Raises:
        UserError: naming the settings.
    """
    if config.chunk is not None and io.n_classes is not None:
        raise UserError(
            "train.chunk is for tasks with a target at each position, and this one's are whole sequences': "
            "use train.checkpoint_activations=true."
        )
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

"""What the placements on several processes share: rows, totals, decisions, and evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.distributed.sequence import Ring, SequenceForward, check_can_split
from seqsuite.experiments.training.batches import TensorBatch, cut
from seqsuite.experiments.training.forward import Forward
from seqsuite.experiments.training.objectives import Sums
from seqsuite.experiments.training.placement import share_of, split_rows
from seqsuite.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from seqsuite.experiments.distributed.shards import Shards


class Ranks(ABC):
    """Processes that each compute their rows of a batch, or a part of each row's sequence.

    Neighbouring ranks share sequences: with P parts, ranks 0 … P − 1 have the parts of the first rows.
    Gradients are sums over all ranks once the last micro-batch of a step is done. An evaluation has whole
    sequences, its rows split over all ranks.

    Args:
        device: Where this process computes.
        config: Size of a step's batch, and in how many parts each rank computes its own.
        parts: Over how many ranks each sequence is split.

    Attributes:
        shards: How ranks write checkpoints of what is split over them; ``None`` where nothing is.
    """

    shards: "Shards | None" = None

    def __init__(self, device: torch.device, config: TrainConfig, parts: int) -> None:
        self.device, self.rank, self.world = device, dist.get_rank(), dist.get_world_size()
        self._batch_size, self._accumulate, self._parts = config.batch_size, config.accumulate, parts
        rings = [Ring(range(first, first + parts)) for first in range(0, self.world, parts) if parts > 1]
        self._ring = rings[self.rank // parts] if rings else None

    def place(self, model: SequenceModel) -> SequenceModel:
        """Return the model on its device or devices.

        Raises:
            UserError: if sequences are to be split and the model's cannot be.
        """
        if self._ring is not None:
            check_can_split(model)
        return self._place(model.to(self.device))

    def forward(self, model: SequenceModel) -> torch.nn.Module:
        """Return what training calls for the model's outputs."""
        if self._ring is None:
            return self._wrap(Forward(model))
        return self._wrap(SequenceForward(model, self._ring))

    @abstractmethod
    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Return the context of a forward and a backward pass; gradients are summed in the last."""

    def rows(self, step: int) -> list[range]:
        """Return the rows of each micro-batch of this rank at a step."""
        size = self._batch_size // (self.world // self._parts)
        start = step * self._batch_size + self.rank // self._parts * size
        return split_rows(range(start, start + size), self._accumulate)

    def share(self, rows: range) -> range:
        """Return the rows of an evaluation's batch that this rank scores; there may be none."""
        return share_of(rows, self.rank, self.world)

    def part(self, batch: TensorBatch) -> TensorBatch:
        """Return this rank's part of the sequences."""
        if self._ring is None:
            return batch
        return cut(batch.arrive(), *self._ring.span(batch.inputs.shape[1]))

    def reduce(self, sums: Sums) -> Sums:
        """Return the totals over all ranks."""
        totals = torch.stack([value.to(self.device, torch.float64) for value in sums.values()])
        dist.all_reduce(totals)
        return dict(zip(sums, totals.unbind(), strict=True))

    def agree(self, decisions: Sequence[bool]) -> list[bool]:
        """Return what rank 0 has decided."""
        values = torch.tensor([float(decision) for decision in decisions], device=self.device)
        dist.broadcast(values, 0)
        return [bool(value) for value in values.tolist()]

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (B, …) of all ranks, those of rank 0 first."""
        real = torch.view_as_real(rows) if rows.is_complex() else rows
        parts = [torch.empty_like(real) for _ in range(self.world)]
        dist.all_gather(parts, real.contiguous())
        whole = torch.cat(parts)
        return torch.view_as_complex(whole) if rows.is_complex() else whole

    def whole(self, value: Tensor) -> Tensor:
        """Return all of a tensor that may be split over ranks; every rank must ask for it."""
        return value

    def cut(self, value: Tensor, like: Tensor) -> Tensor:
        """Return this rank's part of a whole tensor, split as ``like`` is."""
        return value

    @abstractmethod
    def _place(self, model: SequenceModel) -> SequenceModel:
        """Return the model, which is on this rank's device, distributed."""

    @abstractmethod
    def _wrap(self, forward: torch.nn.Module) -> torch.nn.Module:
        """Return what is called in the place of ``forward``."""

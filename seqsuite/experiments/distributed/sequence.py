"""Sequence parallelism: one sequence over several ranks, each with a part of it.

Layers ask for what lies before their part (:mod:`seqsuite.models.split`). That is one collective a recurrence
or convolution, forward and backward: every rank tells all others what its part does to a state, of the size
of a state, and each composes what it needs by itself. A scan over the ranks would take log2(P) rounds of the
same size in place of one; it pays where states are large and ranks are many, and neither is so here. Of
attention, all keys and values are gathered.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.models.backbones.isotropic import Isotropic
from seqsuite.models.sequence_model import BackboneState, SequenceClassifier, SequenceModel
from seqsuite.models.split import split_over


def check_can_split(model: SequenceModel) -> None:
    """Refuse a model whose sequences cannot be split over ranks.

    Raises:
        UserError: naming what stands against it.
    """
    if not isinstance(model.blocks, Isotropic):
        raise UserError(
            "run.sequence_parallel splits sequences between blocks of one width: set "
            "model.backbone=isotropic, or leave it out."
        )
    if isinstance(model, SequenceClassifier):
        raise UserError(
            "run.sequence_parallel is for models with an output at each position, and this one has one a "
            "sequence: leave it out."
        )
    for layer in (part for block in model.blocks.layers() for part in (block, block.mixer)):
        if not layer.splits:
            raise UserError(
                f"run.sequence_parallel: {type(layer).__name__} does not say how it computes a part of a "
                "sequence (SequenceLayer.splits): leave it out."
            )


class Ring:
    """The ranks that share sequences, as layers see them. Every rank of the run must make each ring.

    Args:
        ranks: Their numbers, in the order of their parts.
    """

    def __init__(self, ranks: Sequence[int]) -> None:
        self.group = dist.new_group(list(ranks))
        self.size, own = len(ranks), dist.get_rank()
        self.place = ranks.index(own) if own in ranks else 0
        self._lengths: list[int] = []

    @property
    def before(self) -> Sequence[int]:
        """See :attr:`seqsuite.models.split.Peers.before`."""
        return self._lengths[: self.place]

    def begin(self, seqlen: int) -> None:
        """Say how long the sequences are that are computed next."""
        spans = (part_of(seqlen, place, self.size) for place in range(self.size))
        self._lengths = [end - start for start, end in spans]

    def span(self, seqlen: int) -> tuple[int, int]:
        """Return where this rank's part of a sequence begins and ends."""
        return part_of(seqlen, self.place, self.size)

    def earlier(self, *values: Tensor) -> list[tuple[Tensor, ...]]:
        """See :meth:`seqsuite.models.split.Peers.earlier`."""
        flat = torch.cat([_real(value).flatten() for value in values])
        return [_unpacked(row, values) for row in self._gather(flat)]

    def positions(self, x: Tensor, last: int | None = None) -> Tensor:
        """See :meth:`seqsuite.models.split.Peers.positions`."""
        counts = [length if last is None else min(length, last) for length in self._lengths]
        longest, own = max(counts), counts[self.place]
        if longest == 0:
            return x[:, :0]
        padding = [0, 0] * (x.dim() - 2) + [0, longest - own]  # parts may differ by one
        zero, *parts = self._gather(F.pad(x[:, x.shape[1] - own :], padding))
        kept = [part[:, :count] for part, count in zip(parts, counts, strict=False)]
        return torch.cat([zero[:, :0], *kept], dim=1)

    def _gather(self, value: Tensor) -> tuple[Tensor, ...]:
        gathered: Tensor = _Gather.apply(self, value.contiguous())  # type: ignore[no-untyped-call]  # untyped in PyTorch
        return gathered.unbind()


class _Gather(torch.autograd.Function):
    """What the ranks before this one have, behind zeros; gradients are summed where a value came from."""

    @staticmethod
    def forward(ctx: Any, ring: Ring, value: Tensor) -> Tensor:
        ctx.ring = ring
        found = value.new_zeros(ring.size + 1, *value.shape)
        dist.all_gather_into_tensor(found[1:].view(-1), value.view(-1), group=ring.group)
        return found[: ring.place + 1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        ring, dtype = ctx.ring, grad.dtype
        wide = torch.promote_types(dtype, torch.float32)  # sums over ranks keep their digits
        whole = grad.new_zeros(ring.size, *grad.shape[1:], dtype=wide)
        whole[: ring.place] = grad[1:]
        own = torch.empty_like(whole[0])
        dist.reduce_scatter_tensor(own.view(-1), whole.view(-1), group=ring.group)
        return None, own.to(dtype)


class SequenceForward(nn.Module):
    """A model's outputs for this rank's part of the sequences of a batch.

    Args:
        model: The model, with an isotropic backbone.
        ring: The ranks that share the sequences.
    """

    def __init__(self, model: SequenceModel, ring: Ring) -> None:
        super().__init__()
        self.model = model
        self._ring = ring

    def forward(self, batch: TensorBatch, state: BackboneState | None = None) -> tuple[Tensor, None]:
        """Return outputs (B, L / P, …); nothing is carried from batch to batch.

        Raises:
            UserError: if sequences are packed.
        """
        if batch.cu_seqlens is not None:
            raise UserError("run.sequence_parallel splits whole sequences, and this task's are packed.")
        assert batch.whole is not None
        self._ring.begin(batch.whole)
        start = self.model.initial_state(len(batch.inputs))
        with split_over(self._ring):
            outputs, _ = self.model.prefill(batch.inputs, BackboneState(batch.start, start.blocks))
        return outputs, None


def part_of(seqlen: int, place: int, parts: int) -> tuple[int, int]:
    """Return where a part of a sequence begins and ends; parts have one length, or differ by one."""
    return seqlen * place // parts, seqlen * (place + 1) // parts


def _real(value: Tensor) -> Tensor:
    """Return complex numbers as pairs of real ones, which is what can be sent."""
    return torch.view_as_real(value) if value.is_complex() else value


def _unpacked(row: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return values of the forms of ``like``, which lie one after the other in a row of real numbers."""
    sizes = [_real(value).numel() for value in like]
    values = []
    for part, form in zip(torch.split(row, sizes), like, strict=True):
        real = part.view(_real(form).shape).to(_real(form).dtype)
        values.append(torch.view_as_complex(real) if form.is_complex() else real)
    return tuple(values)

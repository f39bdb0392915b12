"""Sequence parallelism: one sequence over several ranks, each with a part of it.

Every layer takes the state before a part and returns the one after it, so a rank's block starts from what the
block before it in the sequence ended with, on the rank before; gradients of states go the other way. This is
exact for every layer. Of attention the state is the keys and values so far.

A rank begins a block when the rank before has finished that block, and not the whole model: the ranks work on
neighbouring blocks at once, and of ``n_layer + parts − 1`` turns each rank waits in ``parts − 1``. With FSDP2
they go block by block together, and wait for each other in all: there it saves memory only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.models.backbones.isotropic import Isotropic
from seqsuite.models.base import State
from seqsuite.models.sequence_model import BackboneState, SequenceClassifier, SequenceModel

_DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.complex128,
    torch.int64,
    torch.int32,
)
_HEADER = 10
"""Numbers that go before a tensor: its dtype, its number of dimensions, and these."""


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


class Ring:
    """The ranks that share sequences, in the order of their parts. Every rank of the run must make it.

    Args:
        ranks: Their numbers.
    """

    def __init__(self, ranks: Sequence[int]) -> None:
        self._group = dist.new_group(list(ranks))
        self._size, own = len(ranks), dist.get_rank()
        self._place = ranks.index(own) if own in ranks else 0
        self.before = ranks[self._place - 1] if self._place > 0 else None
        self.after = ranks[self._place + 1] if self._place + 1 < self._size else None
        self._sending: list[tuple[dist.Work, Tensor]] = []

    def span(self, seqlen: int) -> tuple[int, int]:
        """Return where this rank's part of a sequence begins and ends."""
        return seqlen * self._place // self._size, seqlen * (self._place + 1) // self._size

    def send(self, value: Tensor, to: int, *, described: bool = False) -> None:
        """Send a tensor without waiting; ``described`` is for a receiver that does not know its form."""
        if described:
            form = [_DTYPES.index(value.dtype), value.dim(), *value.shape]
            self._send(torch.tensor(form + [0] * (_HEADER - len(form)), device=value.device), to)
        if value.numel():
            self._send(_plain(value).contiguous(), to)

    def receive(self, source: int, device: torch.device) -> Tensor:
        """Wait for a tensor that comes described."""
        header = torch.empty(_HEADER, dtype=torch.int64, device=device)
        dist.recv(header, source, group=self._group)
        number, dim, *shape = header.tolist()
        return self.receive_like(source, torch.empty(shape[:dim], dtype=_DTYPES[number], device=device))

    def receive_like(self, source: int, empty: Tensor) -> Tensor:
        """Wait for a tensor of the form of ``empty``, and return it there."""
        if empty.numel():
            dist.recv(_plain(empty), source, group=self._group)
        return empty

    def finish(self) -> None:
        """Wait until all that was sent has been received."""
        for work, _ in self._sending:
            work.wait()
        self._sending.clear()

    def _send(self, value: Tensor, to: int) -> None:
        work = dist.isend(value, to, group=self._group)
        assert work is not None
        self._sending.append((work, value))  # kept alive until it is sent


class _Receive(torch.autograd.Function):
    """The state that the rank before ended with; its gradient goes back there."""

    @staticmethod
    def forward(ctx: Any, ring: Ring, count: int, x: Tensor) -> tuple[Tensor, ...]:
        assert ring.before is not None
        values = [ring.receive(ring.before, x.device) for _ in range(count)]
        ctx.ring, ctx.has_gradient = ring, [_is_differentiable(value) for value in values]
        ctx.mark_non_differentiable(*(value for value in values if not _is_differentiable(value)))
        return x.view_as(x), *values

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor, *grads: Tensor) -> tuple[Tensor | None, ...]:
        for grad, has_gradient in zip(grads, ctx.has_gradient, strict=True):
            if has_gradient:
                ctx.ring.send(grad, ctx.ring.before)
        return None, None, grad_x


class _Send(torch.autograd.Function):
    """The state that this rank ends with goes to the rank after; its gradient comes from there."""

    @staticmethod
    def forward(ctx: Any, ring: Ring, x: Tensor, *values: Tensor) -> Tensor:
        for value in values:
            ring.send(value, ring.after, described=True)  # type: ignore[arg-type]  # there is one
        ctx.ring = ring
        ctx.forms = [
            (value.shape, value.dtype, value.device) if _is_differentiable(value) else None
            for value in values
        ]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor) -> tuple[Tensor | None, ...]:
        grads = [
            None
            if form is None
            else ctx.ring.receive_like(ctx.ring.after, torch.empty(form[0], dtype=form[1], device=form[2]))
            for form in ctx.forms
        ]
        return None, grad_x, *grads


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
        self._ring.finish()
        start = self.model.initial_state(len(batch.inputs))
        with _passing(self.model, self._ring):
            outputs, _ = self.model.prefill(
                batch.inputs, BackboneState(batch.start, start.blocks), batch.cu_seqlens
            )
        return outputs, None


@contextmanager
def _passing(model: SequenceModel, ring: Ring) -> Iterator[None]:
    """Within the context every block starts from the rank before, and tells the rank after how it ended."""

    def begin(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        x, state, *rest = arguments
        if ring.before is None:
            return arguments
        x, *values = _Receive.apply(ring, len(state), x)  # type: ignore[no-untyped-call]
        return x, dict(zip(state, values, strict=True)), *rest

    def end(_: nn.Module, arguments: tuple[Any, ...], result: tuple[Tensor, State]) -> tuple[Tensor, State]:
        x, state = result
        if ring.after is None:
            return result
        return _Send.apply(ring, x, *state.values()), state  # type: ignore[no-untyped-call]

    hooks = []
    for block in model.blocks.layers():
        # Within what FSDP2 does around a block: every rank takes part in its gathering of weights before any
        # waits for another's state, forward and backward.
        hooks += [
            block.register_forward_pre_hook(begin),
            block.register_forward_hook(end, prepend=True),
        ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_differentiable(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()


def _plain(value: Tensor) -> Tensor:
    """Return complex numbers as pairs of real ones, which is what can be sent."""
    return torch.view_as_real(value) if value.is_complex() else value

"""The gradient of a micro-batch: of whole sequences at once, or chunk by chunk in the memory of one chunk."""

from typing import Any

import torch
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.experiments.training.batches import TensorBatch, cut
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.experiments.training.objectives import Objective
from seqsuite.experiments.training.placement import Placement
from seqsuite.experiments.training.precision import MixedPrecision
from seqsuite.models.sequence_model import BackboneState


class Gradients:
    """Adds the gradients of micro-batches to a model's parameters.

    Args:
        objective: What is minimised.
        placement: Where.
        precision: In what numbers.
        chunk: Positions that are computed at once, or ``None`` for all. The chunks' states are computed
            first, without keeping anything else; then each chunk is computed again, the last one first, and
            the gradient of the state before it goes on to the chunk before. The gradient is that of the
            whole: nothing is truncated. It costs a second forward pass.
    """

    def __init__(
        self,
        objective: Objective,
        placement: Placement,
        precision: MixedPrecision,
        chunk: int | None = None,
    ) -> None:
        self._objective, self._placement, self._precision = objective, placement, precision
        self._chunk = chunk

    def add(
        self, carried: CarriedModel, batch: TensorBatch, count: int, *, carry: bool, last: bool
    ) -> Tensor:
        """Add the gradient of a micro-batch.

        Args:
            carried: The model, and the state that it carries.
            batch: The micro-batch.
            count: Targets of the step's whole batch, by which the loss is divided.
            carry: Whether the state is carried from batch to batch.
            last: Whether it is the last micro-batch of the step.

        Returns:
            The loss's part of the step's mean, without gradient.

        Raises:
            UserError: if packed sequences are to be cut into chunks.
        """
        if self._chunk is None or self._chunk >= batch.inputs.shape[1]:
            with self._placement.accumulating(last):
                with self._precision.autocast():
                    loss = self._objective.loss(carried(batch, carry=carry), batch) / count
                self._precision.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return loss.detach()
        return self._add_chunks(carried, batch, count, carry=carry, last=last)

    def _add_chunks(
        self, carried: CarriedModel, batch: TensorBatch, count: int, *, carry: bool, last: bool
    ) -> Tensor:
        assert self._chunk is not None
        if batch.cu_seqlens is not None:
            raise UserError("train.chunk cuts whole sequences, and this task's are packed: leave it out.")
        length = batch.inputs.shape[1]
        chunks = [
            cut(batch, start, min(start + self._chunk, length)) for start in range(0, length, self._chunk)
        ]
        first = carried.begin(batch, carry=carry) or carried.model.initial_state(len(batch.inputs))
        states = self._states(carried.call, chunks[:-1], first)
        total = torch.zeros((), device=batch.inputs.device)
        gradients: dict[tuple[int, str], Tensor] = {}
        for number in reversed(range(len(chunks))):
            before = _leaf(states.pop())
            with self._placement.accumulating(last and number == 0):
                with self._precision.autocast():
                    outputs, after = carried.call(chunks[number], before)
                    loss = self._objective.loss(outputs, chunks[number]) / count
                if carry and number == len(chunks) - 1:
                    carried.end(after)
                ends = _differentiable(after)
                known = [key for key in gradients if key in ends]
                torch.autograd.backward(
                    [self._precision.scale(loss), *(ends[key] for key in known)],
                    [None, *(gradients[key] for key in known)],
                )
            total = total + loss.detach()
            gradients = {
                key: value.grad for key, value in _differentiable(before).items() if value.grad is not None
            }
        return total

    @torch.no_grad()
    def _states(
        self, call: nn.Module, chunks: list[TensorBatch], state: BackboneState
    ) -> list[BackboneState]:
        """Return the states before each chunk and after the last."""
        states = [state]
        for chunk in chunks:
            with self._placement.accumulating(False), self._precision.autocast():
                _, state = call(chunk, state)
            states.append(state)
        return states


def _leaf(state: BackboneState) -> BackboneState:
    """Return a state that gradients end in."""

    def leaf(value: Tensor) -> Tensor:
        value = value.detach()
        return value.requires_grad_() if value.is_floating_point() or value.is_complex() else value

    blocks: Any = tuple({key: leaf(value) for key, value in block.items()} for block in state.blocks)
    return BackboneState(state.position, blocks)


def _differentiable(state: BackboneState) -> dict[tuple[int, str], Tensor]:
    """Return the tensors of a state that have gradients, by block and name."""
    return {
        (number, key): value
        for number, block in enumerate(state.blocks)
        for key, value in block.items()
        if value.requires_grad
    }

"""The CPU backend: fused forward and backward kernels behind two PyTorch operators.

``seqsuite::selective_scan_forward`` and ``seqsuite::selective_scan_backward`` work under autograd,
``torch.compile`` and ``torch.export``. The state (B, L, D, N) is never in memory: the forward keeps states
between chunks, 1/32 of it, and the backward recomputes the rest chunk by chunk. The same input gives the same
bits whatever the number of threads.
"""

from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.operators import (
    below_autograd,
    define_operator,
    implement_operator,
    refuse_second_derivative,
)
from seqsuite.kernels.selective_scan.cpu_launch import (
    Geometry,
    Inputs,
    run_backward,
    run_forward,
)
from seqsuite.kernels.selective_scan.reference import state_dtype

INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "bool delta_softplus, Tensor? initial_state, Tensor? cu_seqlens"
)

# The forward gives y, the final state and, where a backward follows (``save``), the states between chunks.
# The backward gives the gradients of those inputs that are given, in their order.
FORWARD = define_operator(
    f"selective_scan_forward(bool save, {INPUTS}) -> (Tensor y, Tensor final_state, Tensor checkpoints)"
)
BACKWARD = define_operator(
    f"selective_scan_backward(Tensor dy, Tensor? dfinal_state, Tensor checkpoints, {INPUTS}) -> Tensor[]"
)


def selective_scan_cpu(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scan by the fused kernels: arguments and results of ``selective_scan_reference``, for a real ``A``."""
    dtype = state_dtype(u, A)

    def widened(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype)

    def readable(tensor: Tensor | None) -> Tensor | None:
        """The kernels widen 16-bit numbers themselves; others must have the dtype of the state."""
        narrow = tensor is not None and dtype == torch.float32 and tensor.dtype.itemsize == 2
        return tensor if narrow else widened(tensor)

    y, final_state, _ = FORWARD(
        False,
        u,
        readable(delta),
        widened(A),
        widened(B),
        widened(C),
        widened(D),
        readable(z),
        widened(delta_bias),
        delta_softplus,
        widened(initial_state),
        cu_seqlens,
    )
    return y, final_state


def _forward(save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    return run_forward(Inputs(*inputs), save)


def _forward_fake(save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    u, A = inputs[0], inputs[2]
    geometry = Geometry.of_scan(Inputs(*inputs))
    return (
        u.new_empty(u.shape),
        A.new_empty((geometry.sequences, *A.shape)),
        A.new_empty(geometry.checkpoint_shape if save else (0,)),
    )


class _SelectiveScan(torch.autograd.Function):
    """The forward with its derivative, for which it keeps the checkpoints."""

    @staticmethod
    def forward(ctx: Any, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        y, final_state, checkpoints = below_autograd(FORWARD, True, *inputs)
        given = Inputs(*inputs)
        ctx.delta_softplus = given.delta_softplus
        ctx.save_for_backward(*(None if isinstance(x, bool) else x for x in inputs), checkpoints)
        ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)
        return y, final_state, checkpoints

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dfinal_state: Tensor | None, _: None) -> tuple[Any, ...]:
        refuse_second_derivative("selective_scan")
        *saved, checkpoints = ctx.saved_tensors
        inputs = Inputs(*saved)._replace(delta_softplus=ctx.delta_softplus)
        if dy is None:
            dy = torch.zeros_like(inputs.u)
        gradients = BACKWARD(dy, dfinal_state, checkpoints, *inputs)
        by_name = dict(zip(inputs.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad[1:], strict=True)
        return (None, *(by_name.get(name) if wanted else None for name, wanted in needed))


def _backward(dy: Tensor, dfinal_state: Tensor | None, checkpoints: Tensor, *inputs: Any) -> list[Tensor]:
    return list(run_backward(dy, dfinal_state, checkpoints, Inputs(*inputs)).values())


def _backward_fake(
    dy: Tensor, dfinal_state: Tensor | None, checkpoints: Tensor, *inputs: Any
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*inputs).differentiable().values()]


implement_operator(FORWARD, _forward, _forward_fake, _SelectiveScan)
implement_operator(BACKWARD, _backward, _backward_fake)

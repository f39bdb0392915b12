"""The fused backends behind two PyTorch operators, for autograd, torch.compile and torch.export.

``seqsuite::selective_scan_forward`` and ``selective_scan_backward`` take the name of a backend, "cpu" or
"triton". The state (B, L, D, N) is never in memory: the forward keeps it between chunks only, and the
backward recomputes the rest chunk by chunk. The same input gives the same bits.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.reference import real_dtype, selective_scan_reference, state_dtype

INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "bool delta_softplus, Tensor? initial_state, Tensor? cu_seqlens"
)

# The forward gives y, the final state and, where a backward follows (``save``), the states between chunks.
# The backward gives the gradients of those inputs that are given, in their order.
FORWARD = define_operator(
    f"selective_scan_forward(str backend, bool save, {INPUTS}) -> "
    "(Tensor y, Tensor final_state, Tensor checkpoints)"
)
BACKWARD = define_operator(
    f"selective_scan_backward(str backend, Tensor dy, Tensor? dfinal_state, Tensor checkpoints, {INPUTS}) "
    "-> Tensor[]"
)


def selective_scan_fused(
    backend: str,
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
    """Scan by a backend: arguments and results of ``selective_scan_reference``.

    "triton" needs a real ``A``.
    """
    dtype, real = state_dtype(u, A), real_dtype(u)

    def widened(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        return tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype)

    def readable(tensor: Tensor | None) -> Tensor | None:
        """The kernels widen 16-bit numbers themselves; others must have the precision of the state."""
        narrow = tensor is not None and real == torch.float32 and tensor.dtype.itemsize == 2
        return tensor if narrow else widened(tensor, real)

    if backend == "triton":  # its kernels widen all that they read but A and states
        B, C = _alike(B, C, u)
        given: tuple[Tensor | None, ...] = (delta, B, C, D, z, delta_bias)
    else:
        B, C = (projection.to(dtype) for projection in (B, C))
        given = (readable(delta), B, C, widened(D, real), readable(z), widened(delta_bias, real))
    steps, B_read, C_read, skip, gate, bias = given
    y, final_state, _ = FORWARD(
        backend,
        False,
        u,
        steps,
        widened(A, dtype),
        B_read,
        C_read,
        skip,
        gate,
        bias,
        delta_softplus,
        widened(initial_state, dtype),
        cu_seqlens,
    )
    return y, final_state


def _alike(B: Tensor, C: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return B and C as they are; if one is constant, as (B, L, D, N), each channel a group of its own."""
    if 2 not in (B.dim(), C.dim()):
        return B, C

    def by_channel(projection: Tensor) -> Tensor:
        if projection.dim() == 2:
            return projection.expand(*u.shape[:2], *projection.shape)
        grouped = projection.unsqueeze(2) if projection.dim() == 3 else projection
        return grouped.repeat_interleave(u.shape[2] // grouped.shape[2], dim=2)

    return by_channel(B), by_channel(C)


@cache
def kernels_of(backend: str) -> ModuleType:
    """Return what runs a backend: ``run_forward``, ``run_backward`` and ``checkpoint_shape``."""
    if backend == "triton":
        from seqsuite.kernels.selective_scan import triton_launch

        return triton_launch
    from seqsuite.kernels.selective_scan import cpu_launch

    return cpu_launch


def _forward(backend: str, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    outputs: tuple[Tensor, Tensor, Tensor] = kernels_of(backend).run_forward(Inputs(*inputs), save)
    return outputs


def _forward_fake(backend: str, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    given = Inputs(*inputs)
    u, A = given.u, given.A
    sequences = u.shape[0] if given.cu_seqlens is None else len(given.cu_seqlens) - 1
    return (
        u.new_empty(u.shape),
        A.new_empty((sequences, *A.shape)),
        A.new_empty(kernels_of(backend).checkpoint_shape(given) if save else (0,), dtype=A.dtype.to_real()),
    )


def _plain(backend: str, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    y, final_state = selective_scan_reference(*inputs)
    return y, final_state, y.new_empty(0)


class _SelectiveScan(Derivative):
    """The forward with its derivative, for which it keeps the checkpoints."""

    @staticmethod
    def forward(ctx: Any, backend: str, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        y, final_state, checkpoints = below_autograd(FORWARD, backend, True, *inputs)
        given = Inputs(*inputs)
        ctx.backend, ctx.delta_softplus = backend, given.delta_softplus
        ctx.save_for_backward(*(None if isinstance(x, bool) else x for x in inputs), checkpoints)
        ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)
        return y, final_state, checkpoints

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dfinal_state: Tensor | None, _: None) -> tuple[Any, ...]:
        *saved, checkpoints = ctx.saved_tensors
        inputs = Inputs(*saved)._replace(delta_softplus=ctx.delta_softplus)
        if dy is None:
            dy = torch.zeros_like(inputs.u)
        gradients = call_backward(BACKWARD, ctx.backend, dy, dfinal_state, checkpoints, *inputs)
        by_name = dict(zip(inputs.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad[2:], strict=True)
        return (None, None, *(by_name.get(name) if wanted else None for name, wanted in needed))


def _backward(
    backend: str, dy: Tensor, dfinal_state: Tensor | None, checkpoints: Tensor, *inputs: Any
) -> list[Tensor]:
    given = Inputs(*inputs)
    gradients = kernels_of(backend).run_backward(dy, dfinal_state, checkpoints, given)
    return [gradients[f"d{name}"] for name in given.differentiable()]


def _backward_fake(
    backend: str, dy: Tensor, dfinal_state: Tensor | None, checkpoints: Tensor, *inputs: Any
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*inputs).differentiable().values()]


implement_operator(FORWARD, _forward, _forward_fake, _SelectiveScan, _plain, devices=("CPU", "CUDA"))
implement_operator(BACKWARD, _backward, _backward_fake, devices=("CPU", "CUDA"))

"""The fused backends behind two PyTorch operators, for autograd, torch.compile and torch.export.

``seqsuite::rms_norm_forward`` and ``rms_norm_backward`` take the name of a backend, "cpu" or "triton".
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
from seqsuite.kernels.rms_norm.inputs import Inputs
from seqsuite.kernels.rms_norm.reference import rms_norm_reference

INPUTS = "Tensor x, Tensor weight, float eps, Tensor? gate, Tensor? residual"

# The forward gives y and, where there is a residual, the sum. The backward gives the gradients of x, which is
# the residual's too, of the weight and, where there is one, of the gate.
FORWARD = define_operator(f"rms_norm_forward(str backend, {INPUTS}) -> (Tensor y, Tensor total)")
BACKWARD = define_operator(f"rms_norm_backward(str backend, Tensor dy, Tensor? dtotal, {INPUTS}) -> Tensor[]")


def rms_norm_fused(
    backend: str, x: Tensor, weight: Tensor, eps: float, gate: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Normalise by a backend: arguments and results of ``rms_norm_reference``."""
    if backend != "triton":  # whose kernels widen what they read
        weight = weight.to(torch.promote_types(x.dtype, torch.float32))
    gate, residual = (t if t is None or t.dtype == x.dtype else t.to(x.dtype) for t in (gate, residual))
    y, total = FORWARD(backend, x, weight, eps, gate, residual)
    return y, total


@cache
def kernels_of(backend: str) -> ModuleType:
    """Return what runs a backend: ``run_forward`` and ``run_backward``."""
    if backend == "triton":
        from seqsuite.kernels.rms_norm import triton_launch

        return triton_launch
    from seqsuite.kernels.rms_norm import cpu

    return cpu


def _forward(backend: str, *arguments: Any) -> tuple[Tensor, Tensor]:
    outputs: tuple[Tensor, Tensor] = kernels_of(backend).run_forward(Inputs(*arguments))
    return outputs


def _forward_fake(backend: str, *arguments: Any) -> tuple[Tensor, Tensor]:
    inputs = Inputs(*arguments)
    x = inputs.x
    return x.new_empty(x.shape), x.new_empty(x.shape if inputs.residual is not None else (0,))


def _plain(backend: str, *arguments: Any) -> tuple[Tensor, Tensor]:
    inputs = Inputs(*arguments)
    y, total = rms_norm_reference(*inputs)
    return y, total if inputs.residual is not None else inputs.x.new_empty(0)


class _RmsNorm(Derivative):
    """The forward with its derivative, which computes the scale again."""

    @staticmethod
    def forward(ctx: Any, backend: str, *arguments: Any) -> tuple[Tensor, Tensor]:
        inputs = Inputs(*arguments)
        ctx.backend, ctx.eps = backend, inputs.eps
        ctx.save_for_backward(inputs.x, inputs.weight, inputs.gate, inputs.residual)
        ctx.set_materialize_grads(False)
        y, total = below_autograd(FORWARD, backend, *arguments)
        return y, total

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dtotal: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, gate, residual = ctx.saved_tensors
        if dy is None:
            dy = torch.zeros_like(x)
        if residual is None:
            dtotal = None
        dx, dweight, *others = call_backward(
            BACKWARD, ctx.backend, dy, dtotal, x, weight, ctx.eps, gate, residual
        )
        return None, dx, dweight, None, others[0] if others else None, None if residual is None else dx


def _backward(backend: str, dy: Tensor, dtotal: Tensor | None, *arguments: Any) -> list[Tensor]:
    gradients: list[Tensor] = kernels_of(backend).run_backward(dy, dtotal, Inputs(*arguments))
    return gradients


def _backward_fake(backend: str, dy: Tensor, dtotal: Tensor | None, *arguments: Any) -> list[Tensor]:
    inputs = Inputs(*arguments)
    given = (inputs.x, inputs.weight, *([] if inputs.gate is None else [inputs.gate]))
    return [tensor.new_empty(tensor.shape) for tensor in given]


implement_operator(FORWARD, _forward, _forward_fake, _RmsNorm, _plain, devices=("CPU", "CUDA"))
implement_operator(BACKWARD, _backward, _backward_fake, devices=("CPU", "CUDA"))

"""The fused backends behind two PyTorch operators, for autograd, torch.compile and torch.export.

``seqsuite::causal_conv1d_forward`` and ``causal_conv1d_backward`` take the name of a backend, "cpu" or
"triton". The backward computes the convolution again before its activation.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.causal_conv1d.inputs import Inputs
from seqsuite.kernels.causal_conv1d.reference import causal_conv1d_reference
from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)

INPUTS = "Tensor x, Tensor weight, Tensor? bias, bool activation, Tensor? initial_state, Tensor? cu_seqlens"

# The backward gives the gradients of those inputs that are given, in their order.
FORWARD = define_operator(f"causal_conv1d_forward(str backend, {INPUTS}) -> Tensor")
BACKWARD = define_operator(f"causal_conv1d_backward(str backend, Tensor dy, {INPUTS}) -> Tensor[]")


def causal_conv1d_fused(
    backend: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    """Convolve by a backend: arguments and result of ``causal_conv1d_reference``."""
    if backend != "triton":  # whose kernels widen what they read
        dtype = torch.promote_types(x.dtype, torch.float32)
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    y: Tensor = FORWARD(backend, x, weight, bias, activation, initial_state, cu_seqlens)
    return y


@cache
def kernels_of(backend: str) -> ModuleType:
    """Return what runs a backend: ``run_forward`` and ``run_backward``."""
    if backend == "triton":
        from seqsuite.kernels.causal_conv1d import triton_launch

        return triton_launch
    from seqsuite.kernels.causal_conv1d import cpu

    return cpu


def _forward(backend: str, *inputs: Any) -> Tensor:
    y: Tensor = kernels_of(backend).run_forward(Inputs(*inputs))
    return y


def _forward_fake(backend: str, x: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape)


def _plain(backend: str, *inputs: Any) -> Tensor:
    return causal_conv1d_reference(*inputs)


class _CausalConv1d(Derivative):
    """The forward with its derivative."""

    @staticmethod
    def forward(ctx: Any, backend: str, *inputs: Any) -> Any:
        ctx.backend, ctx.activation = backend, Inputs(*inputs).activation
        ctx.save_for_backward(*(None if isinstance(x, bool) else x for x in inputs))
        return below_autograd(FORWARD, backend, *inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        inputs = Inputs(*ctx.saved_tensors)._replace(activation=ctx.activation)
        gradients = call_backward(BACKWARD, ctx.backend, dy, *inputs)
        by_name = dict(zip(inputs.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad[1:], strict=True)
        return (None, *(by_name.get(name) if wanted else None for name, wanted in needed))


def _backward(backend: str, dy: Tensor, *inputs: Any) -> list[Tensor]:
    gradients = kernels_of(backend).run_backward(dy, Inputs(*inputs))
    return [gradients[name] for name in Inputs(*inputs).differentiable()]


def _backward_fake(backend: str, dy: Tensor, *inputs: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*inputs).differentiable().values()]


implement_operator(FORWARD, _forward, _forward_fake, _CausalConv1d, _plain, devices=("CPU", "CUDA"))
implement_operator(BACKWARD, _backward, _backward_fake, devices=("CPU", "CUDA"))

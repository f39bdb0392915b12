"""The CPU backend: fused forward and backward kernels behind two PyTorch operators."""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsuite.kernels.causal_conv1d import cpu_kernels
from seqsuite.kernels.causal_conv1d.cpu_kernels import Options
from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.run import Argument, Division, dtype_name, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.operators import (
    below_autograd,
    define_operator,
    implement_operator,
    refuse_second_derivative,
)
from seqsuite.kernels.strides import with_row_stride

INPUTS = "Tensor x, Tensor weight, Tensor? bias, bool activation, Tensor? initial_state, Tensor? cu_seqlens"

# The backward gives the gradients of those inputs that are given, in their order.
FORWARD = define_operator(f"causal_conv1d_forward({INPUTS}) -> Tensor")
BACKWARD = define_operator(f"causal_conv1d_backward(Tensor dy, {INPUTS}) -> Tensor[]")

# Products below which a second thread takes longer to wake than it saves.
PRODUCTS_PER_THREAD = 1 << 19


class Inputs(NamedTuple):
    """The operators' inputs; weight and bias float32, or float64 where x is."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    activation: bool
    initial_state: Tensor | None
    cu_seqlens: Tensor | None

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        tensors = {"x": self.x, "weight": self.weight, "bias": self.bias, "initial_state": self.initial_state}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def causal_conv1d_cpu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    """Convolve by the fused kernels: arguments and result of ``causal_conv1d_reference``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    bias = None if bias is None else bias.to(dtype)
    y: Tensor = FORWARD(x, weight.to(dtype), bias, activation, initial_state, cu_seqlens)
    return y


def run_forward(inputs: Inputs) -> Tensor:
    """Return y (B, L, D)."""
    division = _division(inputs)
    options = _options(inputs, division)
    y = inputs.x.new_empty(inputs.x.shape)
    threads = _threads(inputs)
    division.run(
        forward_kernel(options),
        cpu_kernels.FORWARD_PARAMETERS,
        _kernel_inputs(inputs) | {"y": y},
        cpu_kernels.forward_scratch(options, division.lanes),
        parts=division.parts_for_threads(threads),
        threads=threads,
        cu_seqlens=inputs.cu_seqlens,
        like=inputs.weight,
    )
    return y


def run_backward(dy: Tensor, inputs: Inputs, dx: Tensor | None = None) -> dict[str, Tensor]:
    """Return by the input's name the gradients of those that are given.

    That of x is written to ``dx`` if this is given: (B, L, D), the rows in one stride.
    """
    division = _division(inputs)
    options = _options(inputs, division)
    sequences = division.sequences
    # The sums over time are one of each sequence; no task adds to what another one writes.
    gradients = {
        name: tensor.new_empty((sequences, *tensor.shape) if name in ("weight", "bias") else tensor.shape)
        for name, tensor in inputs.differentiable().items()
    }
    if dx is not None:
        gradients["x"] = dx
    threads = _threads(inputs)
    division.run(
        backward_kernel(options),
        cpu_kernels.BACKWARD_PARAMETERS,
        {
            **_kernel_inputs(inputs),
            **{f"d{name}": gradient for name, gradient in gradients.items()},
            "dx_stride": gradients["x"].stride(1),
            "dy": dy.contiguous(),
        },
        cpu_kernels.backward_scratch(options, division.lanes),
        parts=division.parts_for_threads(threads),
        threads=threads,
        cu_seqlens=inputs.cu_seqlens,
        like=inputs.weight,
    )
    for name in ("weight", "bias"):
        if name in gradients:
            gradients[name] = gradients[name].sum(0)
    return gradients


@cache
def forward_kernel(options: Options) -> CompiledKernel:
    """Return the forward kernel for these options, compiled when it is first asked for."""
    return compile_kernel(cpu_kernels.build_forward(options, host_target()))


@cache
def backward_kernel(options: Options) -> CompiledKernel:
    """Return the backward kernel likewise."""
    return compile_kernel(cpu_kernels.build_backward(options, host_target()))


def _division(inputs: Inputs) -> Division:
    lanes = host_target().vector_bytes // inputs.weight.dtype.itemsize
    return Division.of(inputs.x.shape, inputs.cu_seqlens, groups=1, lanes=lanes)


def _options(inputs: Inputs, division: Division) -> Options:
    return Options(
        dtype=dtype_name(inputs.weight.dtype),
        x_dtype=dtype_name(inputs.x.dtype),
        taps=inputs.weight.shape[1],
        ragged=division.ragged,
        has_bias=inputs.bias is not None,
        has_initial_state=inputs.initial_state is not None,
        activation=inputs.activation,
    )


def _threads(inputs: Inputs) -> int:
    return worthwhile_threads(inputs.x.numel() * inputs.weight.shape[1], PRODUCTS_PER_THREAD)


def _kernel_inputs(inputs: Inputs) -> dict[str, Argument]:
    """Return the kernels' parameters that come from the inputs; tensors are kept alive by being in it."""
    x, x_stride = with_row_stride(inputs.x)
    values: dict[str, Argument] = {"x": x, "x_stride": x_stride, "weight": inputs.weight.contiguous()}
    for name, tensor in (("bias", inputs.bias), ("initial_state", inputs.initial_state)):
        values[name] = None if tensor is None else tensor.contiguous()
    return values


def _forward(*inputs: Any) -> Tensor:
    return run_forward(Inputs(*inputs))


def _forward_fake(x: Tensor, *others: Any) -> Tensor:
    return x.new_empty(x.shape)


class _CausalConv1d(torch.autograd.Function):
    """The forward with its derivative."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        given = Inputs(*inputs)
        ctx.activation = given.activation
        ctx.save_for_backward(*(None if isinstance(x, bool) else x for x in inputs))
        return below_autograd(FORWARD, *inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        refuse_second_derivative("causal_conv1d")
        inputs = Inputs(*ctx.saved_tensors)._replace(activation=ctx.activation)
        gradients = BACKWARD(dy, *inputs)
        by_name = dict(zip(inputs.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad, strict=True)
        return tuple(by_name.get(name) if wanted else None for name, wanted in needed)


def _backward(dy: Tensor, *inputs: Any) -> list[Tensor]:
    gradients = run_backward(dy, Inputs(*inputs))
    return [gradients[name] for name in Inputs(*inputs).differentiable()]


def _backward_fake(dy: Tensor, *inputs: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*inputs).differentiable().values()]


implement_operator(FORWARD, _forward, _forward_fake, _CausalConv1d)
implement_operator(BACKWARD, _backward, _backward_fake)

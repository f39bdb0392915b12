"""The CPU backend: from tensors to runs of the fused kernels."""

from functools import cache

from torch import Tensor

from seqsuite.kernels.causal_conv1d import cpu_kernels
from seqsuite.kernels.causal_conv1d.cpu_kernels import CHUNK, Options
from seqsuite.kernels.causal_conv1d.inputs import Inputs
from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.run import Argument, Division, dtype_name, packed_sequences, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.strides import with_row_stride

# Products below which a second thread takes longer to wake than it saves.
PRODUCTS_PER_THREAD = 1 << 19


def run_forward(inputs: Inputs) -> Tensor:
    """Return y (B, L, D)."""
    division = _division(inputs)
    options = _options(inputs, division)
    y = inputs.x.new_empty(inputs.x.shape)
    threads = _threads(inputs)
    parts = division.parts_for_threads(threads)
    division.run(
        forward_kernel(options),
        cpu_kernels.FORWARD_PARAMETERS,
        _kernel_inputs(inputs) | {"y": y},
        scratch_size=cpu_kernels.forward_scratch(options, division.lanes).size(
            division.blocks_per_task(parts)
        ),
        parts=parts,
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
    parts = division.parts_for_threads(threads)
    division.run(
        backward_kernel(options),
        cpu_kernels.BACKWARD_PARAMETERS,
        {
            **_kernel_inputs(inputs),
            **{f"d{name}": gradient for name, gradient in gradients.items()},
            "dx_stride": gradients["x"].stride(1),
            "dy": dy.contiguous(),
        },
        scratch_size=cpu_kernels.backward_scratch(options, division.lanes).size(
            division.blocks_per_task(parts)
        ),
        parts=parts,
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
    return Division.of(inputs.x.shape, packed_sequences(inputs.cu_seqlens), 1, lanes, CHUNK)


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

"""The CPU backend of Mamba-2's scan: fused kernels behind two PyTorch operators.

The state (B, L, H, P, N) is never in memory: the forward keeps the states between chunks, 1/32 of it.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.memory import new_empty
from seqsuite.kernels.llvm.run import Argument, Division, dtype_name, packed_sequences, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)
from seqsuite.kernels.ssd import cpu_backward, cpu_forward
from seqsuite.kernels.ssd.cpu_chunks import CHUNK, Options, whole_vectors
from seqsuite.kernels.ssd.plain import ssd_plain
from seqsuite.kernels.strides import with_row_stride

INPUTS = "Tensor x, Tensor delta, Tensor a, Tensor B, Tensor C, Tensor? D, Tensor state, Tensor? cu_seqlens"

# The forward gives y, the final state and, where a backward follows (``save``), the states between chunks.
# The backward gives the gradients of those inputs that are given, in their order.
FORWARD = define_operator(
    f"ssd_forward(bool save, {INPUTS}) -> (Tensor y, Tensor final_state, Tensor checkpoints)"
)
BACKWARD = define_operator(
    f"ssd_backward(Tensor dy, Tensor dfinal_state, Tensor checkpoints, {INPUTS}) -> Tensor[]"
)

# State updates below which a second thread takes longer to wake than it saves; the backward's cost more.
FORWARD_UPDATES_PER_THREAD = 1 << 19
BACKWARD_UPDATES_PER_THREAD = 1 << 17


class Inputs(NamedTuple):
    """The operators' inputs, the floating ones all float32 or all float64."""

    x: Tensor
    delta: Tensor
    a: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    state: Tensor
    cu_seqlens: Tensor | None

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        given = self._asdict()
        del given["cu_seqlens"]
        return {name: tensor for name, tensor in given.items() if tensor is not None}


def ssd_cpu(
    x: Tensor,
    delta: Tensor,
    a: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run h_t = exp(a_t) h_{t-1} + Δ_t x_t B_tᵀ, y_t = h_t C_t + D x_t over whole sequences.

    Args:
        x: (B, L, H, P), float32 or float64, and so are the others.
        delta: Δ (B, L, H).
        a: logarithm of the decay (B, L, H).
        B, C: (B, L, G, N), for G groups of H / G heads each.
        D: (H,).
        state: h_{-1} (B, H, P, N), or (S, H, P, N) of packed sequences.
        cu_seqlens: Offsets (S + 1,) of sequences packed along L, with B = 1.

    Returns:
        y (B, L, H, P) and the final state, of the initial one's shape.
    """
    y, final_state, _ = FORWARD(False, x, delta, a, B, C, D, state, cu_seqlens)
    return y, final_state


def run_forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final states and, with ``save``, the states before each chunk."""
    division, options = _division(inputs), _options(inputs)
    y, final_state = new_empty(inputs.x, inputs.x.shape), inputs.x.new_empty(inputs.state.shape)
    checkpoints = new_empty(inputs.x, _checkpoint_shape(inputs) if save else (0,))
    arguments = _kernel_inputs(inputs) | {
        "initial_state": inputs.state.contiguous(),
        "y": y,
        "final_state": final_state,
        "checkpoints": checkpoints,
    }
    division.run(
        forward_kernel(options, save),
        cpu_forward.PARAMETERS,
        arguments,
        scratch_size=cpu_forward.forward_scratch(options, division.lanes).size(0),
        parts=1,
        threads=worthwhile_threads(_updates(inputs), FORWARD_UPDATES_PER_THREAD),
        cu_seqlens=inputs.cu_seqlens,
        like=inputs.x,
    )
    return y, final_state, checkpoints


def run_backward(dy: Tensor, dfinal_state: Tensor, checkpoints: Tensor, inputs: Inputs) -> list[Tensor]:
    """Return the gradients of the inputs that are given, in their order."""
    division, options = _division(inputs), _options(inputs)
    heads_per_group = division.groups // inputs.B.shape[2]  # each writes a dB and a dC of its own
    parts = {"B": heads_per_group, "C": heads_per_group, "D": division.sequences}
    gradients = {
        name: new_empty(tensor, (parts[name], *tensor.shape) if name in parts else tensor.shape)
        for name, tensor in inputs.differentiable().items()
    }
    arguments = _kernel_inputs(inputs) | {
        "checkpoints": checkpoints,
        "dy": dy.contiguous(),
        "dfinal_state": dfinal_state.contiguous(),
        "dinitial_state": gradients["state"],
        **{f"d{name}": gradients.get(name) for name in ("x", "delta", "a", "B", "C", "D")},
    }
    division.run(
        backward_kernel(options),
        cpu_backward.PARAMETERS,
        arguments,
        scratch_size=cpu_backward.backward_scratch(options, division.lanes).size(0),
        parts=1,
        threads=worthwhile_threads(_updates(inputs), BACKWARD_UPDATES_PER_THREAD),
        cu_seqlens=inputs.cu_seqlens,
        like=inputs.x,
    )
    for name in parts.keys() & gradients.keys():
        terms = gradients[name]
        gradients[name] = terms[0] if len(terms) == 1 else terms.sum(0)
    return list(gradients.values())


@cache
def forward_kernel(options: Options, save: bool) -> CompiledKernel:
    """Return the forward kernel for these options, compiled when it is first asked for."""
    return compile_kernel(cpu_forward.build_forward(options, save, host_target()))


@cache
def backward_kernel(options: Options) -> CompiledKernel:
    """Return the backward kernel likewise."""
    return compile_kernel(cpu_backward.build_backward(options, host_target()))


def _division(inputs: Inputs) -> Division:
    """Return the division of (B, L, H · P) tensors, each head a group of channels."""
    batch, seqlen, heads, width = inputs.x.shape
    lanes = host_target().vector_bytes // inputs.x.dtype.itemsize
    packed = packed_sequences(inputs.cu_seqlens)
    return Division.of(torch.Size((batch, seqlen, heads * width)), packed, heads, lanes, CHUNK)


def _checkpoint_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of the states before each chunk, (chunks, H, P, N) with N in whole vectors."""
    division = _division(inputs)
    return (division.chunks, *inputs.state.shape[1:3], whole_vectors(inputs.B.shape[3], division.lanes))


def _options(inputs: Inputs) -> Options:
    x, B = inputs.x, inputs.B
    return Options(dtype_name(x.dtype), x.shape[3], B.shape[3], skip=inputs.D is not None)


def _updates(inputs: Inputs) -> int:
    return inputs.x.numel() * inputs.B.shape[3]


def _kernel_inputs(inputs: Inputs) -> dict[str, Argument]:
    """Return the kernels' parameters that come from the inputs; tensors are kept alive by being in it."""
    values: dict[str, Argument] = {"bc_groups": inputs.B.shape[2]}
    for name in ("delta", "a", "D"):
        tensor: Tensor | None = getattr(inputs, name)
        values[name] = None if tensor is None else tensor.contiguous()
    for name in ("x", "B", "C"):
        values[name], values[f"{name}_stride"] = with_row_stride(getattr(inputs, name))
    return values


def _forward(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    return run_forward(Inputs(*arguments), save)


def _forward_fake(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    inputs = Inputs(*arguments)
    x = inputs.x
    checkpoints = x.new_empty(_checkpoint_shape(inputs) if save else (0,))
    return x.new_empty(x.shape), x.new_empty(inputs.state.shape), checkpoints


def _plain(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, delta, a, B, C, D, state, cu_seqlens = Inputs(*arguments)
    y, final_state = ssd_plain(x * delta.unsqueeze(-1), a, B, C, state, cu_seqlens, None)
    return y if D is None else y + D.unsqueeze(-1) * x, final_state, y.new_empty(0)


class _Ssd(Derivative):
    """The forward with its derivative, for which it keeps the checkpoints."""

    @staticmethod
    def forward(ctx: Any, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        y, final_state, checkpoints = below_autograd(FORWARD, True, *inputs)
        ctx.save_for_backward(checkpoints, *inputs)
        ctx.mark_non_differentiable(checkpoints)
        ctx.set_materialize_grads(False)  # zeros for the checkpoints take long to write
        return y, final_state, checkpoints

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, dfinal_state: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        checkpoints, *inputs = ctx.saved_tensors
        given = Inputs(*inputs)
        dy = torch.zeros_like(given.x) if dy is None else dy
        dfinal_state = torch.zeros_like(given.state) if dfinal_state is None else dfinal_state
        gradients = call_backward(BACKWARD, dy, dfinal_state, checkpoints, *inputs)
        by_name = dict(zip(given.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad[1:], strict=True)
        return (None, *(by_name.get(name) if wanted else None for name, wanted in needed))


def _backward(dy: Tensor, dfinal_state: Tensor, checkpoints: Tensor, *arguments: Any) -> list[Tensor]:
    return run_backward(dy, dfinal_state, checkpoints, Inputs(*arguments))


def _backward_fake(dy: Tensor, dfinal_state: Tensor, checkpoints: Tensor, *arguments: Any) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*arguments).differentiable().values()]


implement_operator(FORWARD, _forward, _forward_fake, _Ssd, _plain)
implement_operator(BACKWARD, _backward, _backward_fake)

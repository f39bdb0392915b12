"""From tensors to launches of the Triton kernels: how the work is cut, and memory for the results."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.causal_conv1d.inputs import Inputs
from seqsuite.kernels.causal_conv1d.triton_backward import gradient_kernel
from seqsuite.kernels.causal_conv1d.triton_forward import output_kernel
from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.gpu.segments import cut, row_offsets
from seqsuite.kernels.strides import with_row_stride

# Programs, each one warp, that fill a large GPU several times over: the last to finish hold up little then.
# The cut follows the shapes and not the device, so that the same input gives the same bits on any one.
PROGRAMS = 16_384

# Rows of a segment, at least: the K - 1 rows around it are read twice. And at most: a thread sums over them.
MIN_ROWS = 64
MAX_ROWS = 1024

# Rows whose loads are under way together.
STEPS = 8


def run_forward(inputs: Inputs, runtime: Runtime | None = None) -> Tensor:
    """Return y (B, L, D) in x's dtype."""
    runtime = runtime or Runtime.of(inputs.x.device)
    arguments, programs = _arguments(inputs, runtime)
    y = inputs.x.new_empty(inputs.x.shape)
    runtime.launch_with(output_kernel, programs, arguments | {"y": y})
    return y


def run_backward(dy: Tensor, inputs: Inputs, runtime: Runtime | None = None) -> dict[str, Tensor]:
    """Return by the input's name the gradients of those that are given.

    Args:
        dy: (B, L, D), in x's dtype.
        inputs: what the forward was given.
        runtime: what to run on; the device of x if not given.
    """
    runtime = runtime or Runtime.of(inputs.x.device)
    arguments, programs = _arguments(inputs, runtime)
    x, weight, state = inputs.x, inputs.weight, inputs.initial_state
    d_model, taps = weight.shape
    parts = len(arguments["segments"])
    gradients = {"x": x.new_empty(x.shape), "weight": weight.new_empty(parts, taps, d_model)}
    if inputs.bias is not None:
        gradients["bias"] = weight.new_empty(parts, d_model)
    if state is not None:
        gradients["initial_state"] = state.new_empty(state.shape)
    outputs = {f"d{name}": gradients.get(name) for name in ("x", "weight", "bias", "initial_state")}
    runtime.launch_with(gradient_kernel, programs, arguments | outputs | {"dy": dy.contiguous()})
    gradients["weight"] = gradients["weight"].sum(0).t().contiguous()
    if inputs.bias is not None:
        gradients["bias"] = gradients["bias"].sum(0)
    return gradients


def _arguments(inputs: Inputs, runtime: Runtime) -> tuple[dict[str, Any], int]:
    """Return the kernels' arguments that come from the inputs, by name, and the number of programs."""
    batch, seqlen, _ = inputs.x.shape
    d_model, taps = inputs.weight.shape
    channels = 2 * runtime.warp_size
    blocks = -(-d_model // channels)
    rows = min(max(batch * seqlen * blocks // PROGRAMS // MIN_ROWS * MIN_ROWS, MIN_ROWS), MAX_ROWS)
    segments = _segments(row_offsets(batch, seqlen, inputs.cu_seqlens), rows, inputs.x.device)
    x, x_stride = with_row_stride(inputs.x)
    arguments = {
        "x": x,
        "weight": inputs.weight.t().contiguous(),
        "bias": None if inputs.bias is None else inputs.bias.contiguous(),
        "initial_state": None if inputs.initial_state is None else inputs.initial_state.contiguous(),
        "segments": segments,
        "x_stride": x_stride,
        "D_MODEL": d_model,
        "TAPS": taps,
        "CHANNELS": channels,
        "STEPS": STEPS,
        "ACTIVATION": inputs.activation,
    }
    return arguments, len(segments) * blocks


@lru_cache(maxsize=64)
def _segments(offsets: Sequence[int], rows: int, device: torch.device) -> Tensor:
    """Return segments of at most so many rows as the kernels read them, (segments, 5)."""
    pieces = cut(offsets, rows)
    columns = (pieces.first, pieces.rows, pieces.sequence, pieces.position, pieces.remaining)
    return torch.stack(columns, dim=1).to(device)

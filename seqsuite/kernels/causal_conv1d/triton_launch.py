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
from seqsuite.kernels.gpu.plan import Given, Plan, PlannedLaunch, Plans, Result, Workspace, looks
from seqsuite.kernels.gpu.segments import cut, row_offsets
from seqsuite.kernels.gpu.triton_sums import COLUMNS, PARTS, WARPS, sum_parts_kernel, sum_programs
from seqsuite.kernels.strides import with_row_stride

TENSORS = ("x", "weight", "bias", "initial_state")

FORWARD_PLANS, BACKWARD_PLANS = Plans(), Plans()

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
    offsets, tensors = _row_offsets(inputs), _tensors(inputs)
    key = (runtime, inputs.activation, offsets, looks(tensors))
    plan = FORWARD_PLANS.find(key, lambda: _plan_forward(inputs, offsets, runtime))
    return plan.run(tensors)[0]


def run_backward(dy: Tensor, inputs: Inputs, runtime: Runtime | None = None) -> dict[str, Tensor]:
    """Return by the input's name the gradients of those that are given.

    Args:
        dy: (B, L, D), in x's dtype.
        inputs: what the forward was given.
        runtime: what to run on; the device of x if not given.
    """
    runtime = runtime or Runtime.of(inputs.x.device)
    offsets, tensors = _row_offsets(inputs), (*_tensors(inputs), dy)
    key = (runtime, inputs.activation, offsets, looks(tensors))
    plan = BACKWARD_PLANS.find(key, lambda: _plan_backward(inputs, dy, offsets, runtime))
    return dict(zip(inputs.differentiable(), plan.run(tensors), strict=True))


def _tensors(inputs: Inputs) -> tuple[Tensor | None, ...]:
    """Return the inputs named in TENSORS."""
    return inputs.x, inputs.weight, inputs.bias, inputs.initial_state


def _plan_forward(inputs: Inputs, offsets: Sequence[int], runtime: Runtime) -> Plan:
    constants, programs = _constants(inputs, offsets, runtime)
    results = {"y": Result("x")}
    launches = [PlannedLaunch(output_kernel, programs, constants)]
    return Plan(runtime, TENSORS, results, launches, copied=_copied(inputs))


def _plan_backward(inputs: Inputs, dy: Tensor, offsets: Sequence[int], runtime: Runtime) -> Plan:
    constants, programs = _constants(inputs, offsets, runtime)
    d_model, taps = inputs.weight.shape
    count = len(constants["segments"])
    workspace = Workspace(torch.promote_types(inputs.x.dtype, torch.float32))
    parts = {"parts": workspace.piece(count, taps + 1, d_model)}
    absent = {f"d{name}": None for name in ("bias", "initial_state") if getattr(inputs, name) is None}
    sums = parts | {
        "count": count,
        "matrix": Given("dweight"),
        "first": None if inputs.bias is None else Given("dbias"),
        "ROWS": taps,
        "WIDTH": d_model,
        "OTHERS": 1,
        "PARTS": PARTS,
        "COLUMNS": COLUMNS,
    }
    launches = [
        PlannedLaunch(gradient_kernel, programs, constants | parts | absent),
        PlannedLaunch(sum_parts_kernel, sum_programs(taps + 1, d_model), sums, WARPS),
    ]
    results = {f"d{name}": Result(name) for name in inputs.differentiable()}
    copied = _copied(inputs) + ([] if dy.is_contiguous() else ["dy"])
    names = (*TENSORS, "dy")
    return Plan(runtime, names, results, launches, workspace=workspace, copied=copied)


def _constants(inputs: Inputs, offsets: Sequence[int], runtime: Runtime) -> tuple[dict[str, Any], int]:
    """Return the kernels' arguments that follow from the inputs, but for these, and how many programs."""
    d_model, taps = inputs.weight.shape
    channels = 2 * runtime.warp_size
    blocks = -(-d_model // channels)
    rows = min(max(offsets[-1] * blocks // PROGRAMS // MIN_ROWS * MIN_ROWS, MIN_ROWS), MAX_ROWS)
    segments = _segments(offsets, rows, inputs.x.device)
    constants = {
        "segments": segments,
        "x_stride": with_row_stride(inputs.x)[1],
        "D_MODEL": d_model,
        "TAPS": taps,
        "CHANNELS": channels,
        "STEPS": STEPS,
        "ACTIVATION": inputs.activation,
    }
    return constants, len(segments) * blocks


def _copied(inputs: Inputs) -> list[str]:
    """Return the names of those that the kernels cannot read where they lie."""
    others = {"weight": inputs.weight, "bias": inputs.bias, "initial_state": inputs.initial_state}
    names = [name for name, tensor in others.items() if tensor is not None and not tensor.is_contiguous()]
    return names if with_row_stride(inputs.x)[0] is inputs.x else ["x", *names]


def _row_offsets(inputs: Inputs) -> Sequence[int]:
    batch, seqlen, _ = inputs.x.shape
    return row_offsets(batch, seqlen, inputs.cu_seqlens)


@lru_cache(maxsize=64)
def _segments(offsets: Sequence[int], rows: int, device: torch.device) -> Tensor:
    """Return segments of at most so many rows as the kernels read them, (segments, 5)."""
    pieces = cut(offsets, rows)
    columns = (pieces.first, pieces.rows, pieces.sequence, pieces.position, pieces.remaining)
    return torch.stack(columns, dim=1).to(device)

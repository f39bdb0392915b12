"""From tensors to launches of the Triton kernels: how the work is cut, and memory for the results."""

from dataclasses import dataclass
from typing import Any

import triton
from torch import Tensor

from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.rms_norm.inputs import Inputs, as_rows
from seqsuite.kernels.rms_norm.triton_backward import gradient_kernel
from seqsuite.kernels.rms_norm.triton_forward import norm_kernel


@dataclass(frozen=True)
class Work:
    """How a kernel's work is cut: by shapes and not by the device, and the same input gives the same bits.

    Attributes:
        programs: number of them that fills a large GPU; more, where each would have more than ``most_rows``.
        least_rows, most_rows: bounds on the rows of a program.
        numbers: of a tile that a thread holds, half as many in float64. A program has one warp, or as many
            as a row needs.
    """

    programs: int
    least_rows: int
    most_rows: int
    numbers: int


FORWARD = Work(programs=16_384, least_rows=1, most_rows=64, numbers=32)

# A part of the weight's gradient is written for each program: least_rows keeps them few beside the rows.
BACKWARD = Work(programs=4096, least_rows=8, most_rows=1024, numbers=16)

MOST_WARPS = 32


def run_forward(inputs: Inputs, runtime: Runtime | None = None) -> tuple[Tensor, Tensor]:
    """Return y and the sum, which is empty if there is no residual."""
    x = inputs.x
    y, total = x.new_empty(x.shape), x.new_empty(x.shape if inputs.residual is not None else (0,))
    outputs = {"y": y, "total": None if inputs.residual is None else total}
    runtime = runtime or Runtime.of(x.device)
    arguments, programs, warps = _arguments(inputs, FORWARD, runtime)
    runtime.launch_with(norm_kernel, programs, arguments | outputs, warps)
    return y, total


def run_backward(
    dy: Tensor, dtotal: Tensor | None, inputs: Inputs, runtime: Runtime | None = None
) -> list[Tensor]:
    """Return the gradients of x, the weight and, where there is one, the gate.

    Args:
        dy: gradient of y, of x's shape and dtype.
        dtotal: that of the sum, zero if not given.
        inputs: what the forward was given.
        runtime: what to run on; the device of x if not given.
    """
    x, weight = inputs.x, inputs.weight
    runtime = runtime or Runtime.of(x.device)
    arguments, programs, warps = _arguments(inputs, BACKWARD, runtime)
    dx = x.new_empty(x.shape)
    dgate = None if inputs.gate is None else x.new_empty(x.shape)
    dweight = weight.new_empty(programs, *weight.shape)
    outputs = {
        "dy": dy.contiguous(),
        "dtotal": None if dtotal is None else dtotal.contiguous(),
        "dx": dx,
        "dgate": dgate,
        "dweight": dweight,
    }
    runtime.launch_with(gradient_kernel, programs, arguments | outputs, warps)
    return [dx, dweight.sum(0), *([] if dgate is None else [dgate])]


def _arguments(inputs: Inputs, work: Work, runtime: Runtime) -> tuple[dict[str, Any], int, int]:
    """Return the kernels' arguments that come from the inputs, by name, and numbers of programs and warps."""
    width = inputs.weight.shape[0]
    rows = inputs.x.numel() // width
    per_program = min(max(rows // work.programs, work.least_rows), work.most_rows)
    block = triton.next_power_of_2(width)
    a_warp = runtime.warp_size * work.numbers * 4 // inputs.weight.itemsize
    arguments: dict[str, Any] = {
        "weight": inputs.weight.contiguous(),
        "rows": rows,
        "WIDTH": width,
        "BLOCK": block,
        "ROWS": per_program,
        "TILE": min(max(a_warp // block, 1), triton.next_power_of_2(per_program)),
        "EPS": inputs.eps,
    }
    for name in ("x", "gate", "residual"):
        tensor = getattr(inputs, name)
        arguments[name], arguments[f"{name}_stride"] = (None, 0) if tensor is None else as_rows(tensor)
    return arguments, -(-rows // per_program), min(max(block // a_warp, 1), MOST_WARPS)

"""From tensors to launches of the Triton kernels: how the work is cut, and memory for the results."""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.gpu.plan import Given, Plan, PlannedLaunch, Plans, Result, Workspace, looks
from seqsuite.kernels.gpu.triton_sums import COLUMNS, PARTS, WARPS, sum_parts_kernel, sum_programs
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

TENSORS = ("x", "weight", "gate", "residual")

FORWARD_PLANS, BACKWARD_PLANS = Plans(), Plans()


def run_forward(inputs: Inputs, runtime: Runtime | None = None) -> tuple[Tensor, Tensor]:
    """Return y and the sum, which is empty if there is no residual."""
    runtime = runtime or Runtime.of(inputs.x.device)
    tensors = (inputs.x, inputs.weight, inputs.gate, inputs.residual)
    key = (runtime, inputs.eps, looks(tensors))
    y, total = FORWARD_PLANS.find(key, lambda: _plan_forward(inputs, runtime)).run(tensors)
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
    runtime = runtime or Runtime.of(inputs.x.device)
    tensors = (inputs.x, inputs.weight, inputs.gate, inputs.residual, dy, dtotal)
    key = (runtime, inputs.eps, looks(tensors))
    plan = BACKWARD_PLANS.find(key, lambda: _plan_backward(inputs, dy, dtotal, runtime))
    return plan.run(tensors)


def _plan_forward(inputs: Inputs, runtime: Runtime) -> Plan:
    residual = inputs.residual
    constants, programs, warps = _constants(inputs, FORWARD, runtime)
    constants["total"] = None if residual is None else Given("total")
    results = {"y": Result("x"), "total": Result("x", (0,) if residual is None else None)}
    launches = [PlannedLaunch(norm_kernel, programs, constants, warps)]
    return Plan(runtime, TENSORS, results, launches, copied=_copied(inputs))


def _plan_backward(inputs: Inputs, dy: Tensor, dtotal: Tensor | None, runtime: Runtime) -> Plan:
    constants, programs, warps = _constants(inputs, BACKWARD, runtime)
    (width,) = inputs.weight.shape
    workspace = Workspace(torch.promote_types(inputs.x.dtype, torch.float32))
    parts = {"parts": workspace.piece(programs, width)}
    results = {"dx": Result("x"), "dweight": Result("weight")}
    if inputs.gate is None:
        constants["dgate"] = None
    else:
        results["dgate"] = Result("x")
    sums = parts | {
        "count": programs,
        "matrix": Given("dweight"),
        "first": None,
        "ROWS": 1,
        "WIDTH": width,
        "OTHERS": 0,
        "PARTS": PARTS,
        "COLUMNS": COLUMNS,
    }
    launches = [
        PlannedLaunch(gradient_kernel, programs, constants | parts, warps),
        PlannedLaunch(sum_parts_kernel, sum_programs(1, width), sums, WARPS),
    ]
    given = {"dy": dy, "dtotal": dtotal}
    copied = _copied(inputs) + [n for n, t in given.items() if t is not None and not t.is_contiguous()]
    return Plan(runtime, (*TENSORS, *given), results, launches, workspace=workspace, copied=copied)


def _constants(inputs: Inputs, work: Work, runtime: Runtime) -> tuple[dict[str, Any], int, int]:
    """Return the kernels' arguments that follow from the inputs, and the numbers of programs and warps."""
    width = inputs.weight.shape[0]
    rows = inputs.x.numel() // width
    per_program = min(max(rows // work.programs, work.least_rows), work.most_rows)
    block = triton.next_power_of_2(width)
    itemsize = torch.promote_types(inputs.x.dtype, torch.float32).itemsize
    a_warp = runtime.warp_size * work.numbers * 4 // itemsize
    views = {"x": inputs.x, "gate": inputs.gate, "residual": inputs.residual}
    strides = {f"{name}_stride": 0 if t is None else as_rows(t)[1] for name, t in views.items()}
    constants: dict[str, Any] = {
        **strides,
        "rows": rows,
        "WIDTH": width,
        "BLOCK": block,
        "ROWS": per_program,
        "TILE": min(max(a_warp // block, 1), triton.next_power_of_2(per_program)),
        "EPS": inputs.eps,
    }
    return constants, -(-rows // per_program), min(max(block // a_warp, 1), MOST_WARPS)


def _copied(inputs: Inputs) -> list[str]:
    """Return the names of those that the kernels cannot read where they lie."""
    views = {"x": inputs.x, "gate": inputs.gate, "residual": inputs.residual}
    names = [n for n, t in views.items() if t is not None and as_rows(t)[0].data_ptr() != t.data_ptr()]
    return names if inputs.weight.is_contiguous() else ["weight", *names]

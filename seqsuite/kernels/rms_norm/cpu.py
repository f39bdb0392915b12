"""The CPU backend: fused forward and backward kernels behind two PyTorch operators."""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.run import Argument, dtype_name, machine_words, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch
from seqsuite.kernels.operators import (
    below_autograd,
    define_operator,
    implement_operator,
    refuse_second_derivative,
)
from seqsuite.kernels.rms_norm.cpu_kernels import (
    BACKWARD_PARAMETERS,
    FORWARD_PARAMETERS,
    Options,
    build_backward,
    build_forward,
    norm_scratch,
)

INPUTS = "Tensor x, Tensor weight, float eps, Tensor? gate, Tensor? residual"

# The forward gives y and, where there is a residual, the sum. The backward gives the gradients of x, which is
# the residual's too, of the weight and, where there is one, of the gate.
FORWARD = define_operator(f"rms_norm_forward({INPUTS}) -> (Tensor y, Tensor total)")
BACKWARD = define_operator(f"rms_norm_backward(Tensor dy, Tensor? dtotal, {INPUTS}) -> Tensor[]")

# Rows are divided into this many tasks at most, by number alone: each writes a part of the weight's gradient.
MAX_TASKS = 64
MIN_ROWS_PER_TASK = 16

# Numbers below which a second thread takes longer to wake than it saves.
NUMBERS_PER_THREAD = 1 << 18


class Inputs(NamedTuple):
    """The operators' inputs; the weight float32, or float64 where x is, the others in x's dtype."""

    x: Tensor
    weight: Tensor
    eps: float
    gate: Tensor | None
    residual: Tensor | None


def rms_norm_cpu(
    x: Tensor, weight: Tensor, eps: float, gate: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Normalise by the fused kernels: arguments and results of ``rms_norm_reference``."""
    wide = torch.promote_types(x.dtype, torch.float32)
    gate, residual = (None if t is None else t.to(x.dtype) for t in (gate, residual))
    y, total = FORWARD(x, weight.to(wide), eps, gate, residual)
    return y, total


def run_forward(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return y and the sum, which is empty if there is no residual."""
    x = inputs.x
    y, total = x.new_empty(x.shape), x.new_empty(x.shape if inputs.residual is not None else (0,))
    _run(forward_kernel(_options(inputs)), FORWARD_PARAMETERS, inputs, {"y": y, "total": total})
    return y, total


def run_backward(dy: Tensor, dtotal: Tensor | None, inputs: Inputs) -> list[Tensor]:
    """Return the gradients of x, the weight and, where there is one, the gate."""
    x, weight = inputs.x, inputs.weight
    dx = x.new_empty(x.shape)
    dgate = None if inputs.gate is None else x.new_empty(x.shape)
    if inputs.residual is not None:
        dtotal = torch.zeros_like(dy) if dtotal is None else dtotal.contiguous()
    dweight = weight.new_empty((_division(inputs)[1], *weight.shape))
    gradients = {"dx": dx, "dgate": dgate, "dweight": dweight}
    outputs = {"dy": dy.contiguous(), "dtotal": dtotal} | gradients
    _run(backward_kernel(_options(inputs)), BACKWARD_PARAMETERS, inputs, outputs)
    return [dx, dweight.sum(0), *([] if dgate is None else [dgate])]


@cache
def forward_kernel(options: Options) -> CompiledKernel:
    """Return the forward kernel for these options, compiled when it is first asked for."""
    return compile_kernel(build_forward(options, host_target()))


@cache
def backward_kernel(options: Options) -> CompiledKernel:
    """Return the backward kernel likewise."""
    return compile_kernel(build_backward(options, host_target()))


def _run(
    kernel: CompiledKernel,
    parameters: tuple[str, ...],
    inputs: Inputs,
    outputs: dict[str, Tensor | None],
) -> None:
    x, weight = inputs.x, inputs.weight
    rows_per_task, tasks = _division(inputs)
    threads = min(worthwhile_threads(x.numel(), NUMBERS_PER_THREAD), tasks)
    lanes = host_target().vector_bytes // weight.itemsize
    scratch_size = norm_scratch(_options(inputs), lanes).size(0)
    arguments: dict[str, Argument] = {
        "rows": x.numel() // weight.shape[0],
        "rows_per_task": rows_per_task,
        "tasks": tasks,
        "scratch": weight.new_empty(threads * scratch_size),
        "scratch_size": scratch_size,
        "weight": weight.contiguous(),
        **outputs,
    }
    for name, tensor in (("x", x), ("gate", inputs.gate), ("residual", inputs.residual)):
        if tensor is not None:
            arguments[name], arguments[f"{name}_stride"] = _as_rows(tensor)
    if tasks:
        launch(kernel.address, machine_words(arguments, parameters), threads)


def _division(inputs: Inputs) -> tuple[int, int]:
    """Return the number of rows in a task and the number of tasks."""
    rows = inputs.x.numel() // inputs.weight.shape[0]
    rows_per_task = max(MIN_ROWS_PER_TASK, -(-rows // MAX_TASKS))
    return rows_per_task, -(-rows // rows_per_task)


def _as_rows(tensor: Tensor) -> tuple[Tensor, int]:
    """Return (..., D) as (rows, D), each row contiguous, and the stride from one to the next."""
    rows = tensor.reshape(-1, tensor.shape[-1])
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    return rows, rows.stride(0)


def _options(inputs: Inputs) -> Options:
    return Options(
        dtype=dtype_name(inputs.weight.dtype),
        x_dtype=dtype_name(inputs.x.dtype),
        width=inputs.weight.shape[0],
        eps=inputs.eps,
        has_gate=inputs.gate is not None,
        has_residual=inputs.residual is not None,
    )


def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    return run_forward(Inputs(*arguments))


def _forward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    x, residual = arguments[0], arguments[4]
    return x.new_empty(x.shape), x.new_empty(x.shape if residual is not None else (0,))


class _RmsNorm(torch.autograd.Function):
    """The forward with its derivative, which computes the scale again."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        inputs = Inputs(*arguments)
        ctx.eps = inputs.eps
        ctx.save_for_backward(inputs.x, inputs.weight, inputs.gate, inputs.residual)
        ctx.set_materialize_grads(False)
        y, total = below_autograd(FORWARD, *arguments)
        return y, total

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dtotal: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("rms_norm")
        x, weight, gate, residual = ctx.saved_tensors
        if dy is None:
            dy = torch.zeros_like(x)
        if residual is None:
            dtotal = None
        dx, dweight, *others = BACKWARD(dy, dtotal, x, weight, ctx.eps, gate, residual)
        return dx, dweight, None, *(others or [None]), None if residual is None else dx


def _backward(dy: Tensor, dtotal: Tensor | None, *arguments: Any) -> list[Tensor]:
    return run_backward(dy, dtotal, Inputs(*arguments))


def _backward_fake(dy: Tensor, dtotal: Tensor | None, *arguments: Any) -> list[Tensor]:
    inputs = Inputs(*arguments)
    given = (inputs.x, inputs.weight, *([] if inputs.gate is None else [inputs.gate]))
    return [tensor.new_empty(tensor.shape) for tensor in given]


implement_operator(FORWARD, _forward, _forward_fake, _RmsNorm)
implement_operator(BACKWARD, _backward, _backward_fake)

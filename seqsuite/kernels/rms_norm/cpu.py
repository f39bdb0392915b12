"""The CPU backend: from tensors to runs of the fused kernels."""

from functools import cache

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.run import Argument, dtype_name, machine_words, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch
from seqsuite.kernels.rms_norm.cpu_kernels import (
    BACKWARD_PARAMETERS,
    FORWARD_PARAMETERS,
    Options,
    build_backward,
    build_forward,
    norm_scratch,
)
from seqsuite.kernels.rms_norm.inputs import Inputs, as_rows

# Rows are divided into this many tasks at most, by number alone: each writes a part of the weight's gradient.
MAX_TASKS = 64
MIN_ROWS_PER_TASK = 16

# Numbers below which a second thread takes longer to wake than it saves.
NUMBERS_PER_THREAD = 1 << 18


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
            arguments[name], arguments[f"{name}_stride"] = as_rows(tensor)
    if tasks:
        launch(kernel.address, machine_words(arguments, parameters), threads)


def _division(inputs: Inputs) -> tuple[int, int]:
    """Return the number of rows in a task and the number of tasks."""
    rows = inputs.x.numel() // inputs.weight.shape[0]
    rows_per_task = max(MIN_ROWS_PER_TASK, -(-rows // MAX_TASKS))
    return rows_per_task, -(-rows // rows_per_task)


def _options(inputs: Inputs) -> Options:
    return Options(
        dtype=dtype_name(inputs.weight.dtype),
        x_dtype=dtype_name(inputs.x.dtype),
        width=inputs.weight.shape[0],
        eps=inputs.eps,
        has_gate=inputs.gate is not None,
        has_residual=inputs.residual is not None,
    )

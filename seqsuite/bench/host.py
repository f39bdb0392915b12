"""``seqsuite bench host``: what a call of a GPU kernel costs the host, and asks of the GPU. It needs no GPU.

The kernels compile for one and their launches are only recorded; tensors are on the CPU. Microseconds are of
the processor's time, the least of several samples: what Python, PyTorch's dispatcher and Triton's launcher
take. A real launch adds the driver's, some 2 to 5 µs each.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say
from seqsuite.bench.settings import Settings
from seqsuite.errors import UserError
from seqsuite.kernels import causal_conv1d, rms_norm, selective_scan
from seqsuite.report import Column, Report, Row, Section

SAMPLES, CALLS = 15, 20

Call = Callable[[], Tensor]


def run(settings: Settings, say: Say) -> Report:
    """Count and time the calls of every operation that has Triton kernels.

    Raises:
        UserError: Triton cannot be imported.
    """
    try:
        from seqsuite.kernels.ahead_of_time.recording import recording, work_of
    except ImportError as error:
        raise UserError(f"bench host needs Triton, which cannot be imported: {error}.") from error
    samples, calls = (2, 2) if settings.quick else (SAMPLES, CALLS)
    rows: list[Row] = []
    with recording() as driver:
        for name, forward, leaves in cases(torch.bfloat16):
            for work, call in works(forward, leaves):
                say(f"{name}: {work}")
                asked = work_of(call, driver)
                rows.append(
                    {
                        "call": name,
                        "work": work,
                        "host_s": host_seconds(call, samples, calls),
                        "kernels": len(asked.kernels),
                        "operators": len(asked.operators),
                        "allocations": asked.allocations,
                    }
                )
    columns = (
        Column("call", "call"),
        Column("work", "work"),
        Column("host_s", "host", "seconds"),
        Column("kernels", "our launches", "count"),
        Column("operators", "PyTorch's launches", "count"),
        Column("allocations", "allocations", "count"),
    )
    section = Section("host", "What a call costs the host, in bfloat16", columns, rows)
    return Report(settings.command, describe_machine("cpu", settings.threads), [section])


def cases(dtype: torch.dtype) -> Iterator[tuple[str, Call, list[Tensor]]]:
    """Go through small calls: what each is, the call, and the tensors that get gradients."""

    def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.rand(shape, dtype=dtype).requires_grad_()

    def scan(seqlen: int) -> tuple[Call, list[Tensor]]:
        rows = (1, seqlen, 64)
        u, delta, z = (leaf(*rows, dtype=dtype) for _ in range(3))
        B, C = (leaf(1, seqlen, 16, dtype=dtype) for _ in range(2))
        A, D, bias = (-torch.rand(64, 16)).requires_grad_(), leaf(64), leaf(64)

        def call() -> Tensor:
            return selective_scan(u, delta, A, B, C, D, z, bias, delta_softplus=True, backend="triton")

        return call, [u, delta, A, B, C, D, z, bias]

    yield "selective_scan, in one piece", *scan(64)
    yield "selective_scan, in segments", *scan(256)
    x, residual = (leaf(1, 256, 64, dtype=dtype) for _ in range(2))
    filters, bias, weight = leaf(64, 4), leaf(64), leaf(64)
    yield (
        "causal_conv1d",
        lambda: causal_conv1d(x, filters, bias, activation=True, backend="triton"),
        [x, filters, bias],
    )
    yield (
        "rms_norm with a residual",
        lambda: rms_norm(x, weight, 1e-5, residual=residual, backend="triton")[0],
        [x, weight, residual],
    )


def works(forward: Call, leaves: list[Tensor]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Go through the forward without gradients, and the forward with its backward."""

    def alone() -> Tensor:
        with torch.no_grad():
            return forward()

    gradient = torch.ones_like(alone())
    yield "forward", alone
    yield "forward + backward", lambda: torch.autograd.grad(forward(), leaves, gradient)


def host_seconds(call: Callable[[], object], samples: int, calls: int) -> float:
    """Return the processor's seconds that a call takes, the least of some samples."""
    found = []
    for _ in range(samples):
        begun = time.process_time()
        for _ in range(calls):
            call()
        found.append((time.process_time() - begun) / calls)
    return min(found)

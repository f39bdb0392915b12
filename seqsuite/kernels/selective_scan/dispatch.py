"""Which implementation of the selective scan runs."""

from collections.abc import Callable
from functools import cache

from torch import Tensor

from seqsuite.kernels.backends import Backend, requested_backend
from seqsuite.kernels.selective_scan.reference import selective_scan_reference

Implementation = Callable[..., tuple[Tensor, Tensor]]


@cache
def _why_no_cpu() -> str | None:
    try:
        from seqsuite.kernels.llvm.jit import why_unavailable
    except (ImportError, OSError) as error:
        return f"llvmlite cannot be loaded: {error}"
    return why_unavailable()


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("cpu", _why_no_cpu, "vector kernels compiled by LLVM for this processor"),
        Backend("reference", lambda: None, "plain PyTorch, step by step"),
    )
}


def implementation(u: Tensor, A: Tensor, backend: str | None) -> Implementation:
    """Return the implementation that ``backend`` or SEQSUITE_BACKEND asks for, else the fastest that can run.

    Raises:
        ValueError: what is asked for does not exist, cannot run on this machine, or not on these arguments.
    """
    name = requested_backend(backend, BACKENDS)
    if name == "cpu":
        if u.device.type != "cpu":
            raise ValueError(
                f"selective_scan: backend 'cpu' needs tensors on the CPU, but u is on {u.device}"
            )
        if A.is_complex():
            raise ValueError("selective_scan: backend 'cpu' needs a real A; use backend='reference'")
    if name is None:
        fits_cpu = u.device.type == "cpu" and not A.is_complex() and _why_no_cpu() is None
        name = "cpu" if fits_cpu else "reference"
    if name == "reference":
        return selective_scan_reference
    from seqsuite.kernels.selective_scan.cpu import selective_scan_cpu

    return selective_scan_cpu

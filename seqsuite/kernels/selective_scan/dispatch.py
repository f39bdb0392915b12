"""Which implementation of the selective scan runs."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from seqsuite.kernels.backend import Backend, requested_backend
from seqsuite.kernels.selective_scan.reference import selective_scan_reference

Implementation = Callable[..., tuple[Tensor, Tensor]]


@cache
def _why_no_cpu() -> str | None:
    try:
        from seqsuite.kernels.llvm.jit import why_unavailable
    except (ImportError, OSError) as error:
        return f"llvmlite cannot be loaded: {error}"
    return why_unavailable()


def _why_no_triton() -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported: {error}"
    if torch.cuda.is_available() or _triton_interprets():
        return None
    return "there is no GPU that PyTorch can use"


def _triton_interprets() -> bool:
    """Return whether Triton's interpreter (TRITON_INTERPRET=1) is on, which runs on the CPU, for tests."""
    import triton

    interprets: bool = triton.knobs.runtime.interpret
    return interprets


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("triton", _why_no_triton, "fused kernels compiled by Triton for the GPU"),
        Backend("cpu", _why_no_cpu, "vector kernels compiled by LLVM for this processor"),
        Backend("reference", lambda: None, "plain PyTorch, step by step"),
    )
}


def implementation(u: Tensor, A: Tensor, backend: str | None) -> Implementation:
    """Return the implementation that ``backend`` or SEQSUITE_BACKEND asks for, else the fastest that can run.

    Raises:
        ValueError: what is asked for does not exist, cannot run on this machine, or not on these arguments.
    """
    name = _choose(u.device.type, A.is_complex(), backend)
    if name == "reference":
        return selective_scan_reference
    from seqsuite.kernels.selective_scan.operators import selective_scan_fused

    return partial(selective_scan_fused, name)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def _choose(device: str, complex_A: bool, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    name = requested_backend(backend, BACKENDS)
    if name is None:
        name = {"cuda": "triton", "cpu": "cpu"}.get(device, "reference")
        usable = not complex_A and BACKENDS[name].unavailable_because() is None
        return name if usable else "reference"
    if name == "reference":
        return name
    if name == "cpu" and device != "cpu":
        raise ValueError(f"selective_scan: backend 'cpu' needs tensors on the CPU, but u is on {device}")
    if name == "triton" and device != "cuda" and not _triton_interprets():
        raise ValueError(f"selective_scan: backend 'triton' needs tensors on a GPU, but u is on {device}")
    if complex_A:
        raise ValueError(f"selective_scan: backend {name!r} needs a real A; use backend='reference'")
    return name

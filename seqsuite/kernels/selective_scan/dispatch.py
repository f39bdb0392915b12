"""Which implementation of the selective scan runs."""

from collections.abc import Callable

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, requested_backend
from seqsuite.kernels.selective_scan.reference import selective_scan_reference

Implementation = Callable[..., tuple[Tensor, Tensor]]


BACKENDS = {backend.name: backend for backend in (CPU, REFERENCE)}


def implementation(u: Tensor, A: Tensor, backend: str | None) -> Implementation:
    """Return the implementation that ``backend`` or SEQSUITE_BACKEND asks for, else the fastest that can run.

    Raises:
        ValueError: what is asked for does not exist, cannot run on this machine, or not on these arguments.
    """
    if _choose(u.device.type, A.is_complex(), backend) == "reference":
        return selective_scan_reference
    from seqsuite.kernels.selective_scan.cpu import selective_scan_cpu

    return selective_scan_cpu


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def _choose(device: str, complex_A: bool, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    name = requested_backend(backend, BACKENDS)
    if name == "cpu" and device != "cpu":
        raise ValueError(f"selective_scan: backend 'cpu' needs tensors on the CPU, but u is on {device}")
    if name == "cpu" and complex_A:
        raise ValueError("selective_scan: backend 'cpu' needs a real A; use backend='reference'")
    if name is not None:
        return name
    return "cpu" if device == "cpu" and not complex_A and CPU.unavailable_because() is None else "reference"

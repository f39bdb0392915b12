"""Which implementation of the selective scan runs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, TRITON, choose_backend
from seqsuite.kernels.selective_scan.reference import selective_scan_reference

Implementation = Callable[..., tuple[Tensor, Tensor]]

BACKENDS = {backend.name: backend for backend in (TRITON, CPU, REFERENCE)}


def implementation(u: Tensor, A: Tensor, backend: str | None) -> Implementation:
    """Return the implementation that ``backend`` or SEQSUITE_BACKEND asks for, else the fastest that can run.

    Raises:
        ValueError: what is asked for does not exist, cannot run on this machine, or not on these arguments.
    """
    name = backend_for(u.device.type, A.is_complex(), backend)
    if name == "reference":
        return selective_scan_reference
    from seqsuite.kernels.selective_scan.operators import selective_scan_fused

    return partial(selective_scan_fused, name)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def backend_for(device: str, complex_A: bool, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    name = choose_backend("selective_scan", BACKENDS, device, backend)
    if complex_A and name == "triton":
        if backend is not None:
            raise ValueError("selective_scan: backend 'triton' needs a real A; use backend='reference'")
        return "reference"
    return name

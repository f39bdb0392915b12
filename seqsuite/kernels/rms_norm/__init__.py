"""Root mean square normalisation (arXiv 1910.07467), alone, after a gate, or after adding a residual."""

from typing import overload

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, TRITON, choose_backend
from seqsuite.kernels.checks import check_devices, check_tensor
from seqsuite.kernels.rms_norm.reference import rms_norm_reference

BACKENDS = {backend.name: backend for backend in (TRITON, CPU, REFERENCE)}

NAME = "rms_norm"

# Numbers below which to call the fused kernels takes longer than PyTorch's own norm: on a CPU, where it was
# measured; taken for GPUs too.
FEW_NUMBERS = 1 << 14


@overload
def rms_norm(
    x: Tensor,
    weight: Tensor,
    eps: float,
    *,
    gate: Tensor | None = None,
    residual: None = None,
    backend: str | None = None,
) -> Tensor: ...


@overload
def rms_norm(
    x: Tensor, weight: Tensor, eps: float, *, residual: Tensor, backend: str | None = None
) -> tuple[Tensor, Tensor]: ...


def rms_norm(
    x: Tensor,
    weight: Tensor,
    eps: float,
    *,
    gate: Tensor | None = None,
    residual: Tensor | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Divide vectors by their root mean square: y = v / sqrt(mean(v²) + eps) · weight.

    v is ``x``, or x · silu(gate) as in Mamba-2, or x + residual. It is computed in float32 (in float64 where
    ``x`` is) whatever the dtypes of the arguments.

    Args:
        x: (..., D), floating.
        weight: (D,).
        eps: Added to the mean square.
        gate: Of x's shape.
        residual: Of x's shape; not together with ``gate``.
        backend: "triton" (tensors on a GPU), "cpu" or "reference"; if not given, what the environment's
            SEQSUITE_BACKEND says, else the fastest for so many numbers.

    Returns:
        y in ``x``'s shape and dtype; with a residual, y and the sum x + residual, for the next one.

    Raises:
        TypeError: an argument has a dtype it cannot have.
        ValueError: an argument has a shape it cannot have or is on another device, or the backend cannot
            be used.
    """
    _check_arguments(x, weight, gate, residual)
    # torch.compile fuses plain PyTorch itself, and would compile once more for fewer numbers.
    plain = torch.compiler.is_compiling() or x.numel() < FEW_NUMBERS
    name = backend_for(x.device.type, plain, backend)
    if name == "reference":
        y, total = rms_norm_reference(x, weight, eps, gate, residual)
    else:
        from seqsuite.kernels.rms_norm.operators import rms_norm_fused

        y, total = rms_norm_fused(name, x, weight, eps, gate, residual)
    return y if residual is None else (y, total)


def _check_arguments(x: Tensor, weight: Tensor, gate: Tensor | None, residual: Tensor | None) -> None:
    check_tensor(NAME, "weight", weight, "(D,)", (None,))
    leading = x.shape[:-1] if isinstance(x, Tensor) else ()
    check_tensor(NAME, "x", x, "(..., D)", (*leading, weight.shape[0]))
    for name, tensor in (("gate", gate), ("residual", residual)):
        if tensor is not None:
            check_tensor(NAME, name, tensor, "of x", tuple(x.shape))
    if gate is not None and residual is not None:
        raise ValueError(f"{NAME}: give a gate or a residual, not both")
    check_devices(NAME, "x", x, {"weight": weight, "gate": gate, "residual": residual})


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def backend_for(device: str, plain: bool, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    return choose_backend(NAME, BACKENDS, device, backend, fused_pays=not plain)

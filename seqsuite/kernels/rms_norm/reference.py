"""Root mean square normalisation in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm_reference(
    x: Tensor, weight: Tensor, eps: float, gate: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return y and v; :func:`seqsuite.kernels.rms_norm` says what the arguments mean."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    v = x.to(dtype)
    if gate is not None:
        v = v * F.silu(gate.to(dtype))
    if residual is not None:
        v = v + residual.to(dtype)
    return F.rms_norm(v, weight.shape, weight.to(dtype), eps).to(x.dtype), v.to(x.dtype)

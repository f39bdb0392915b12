"""The inside of a Mamba block, one operation after the other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.causal_conv1d import causal_conv1d
from seqsuite.kernels.selective_scan import selective_scan


def mamba_inner_reference(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    x_proj: Tensor,
    dt_proj: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    out_proj: Tensor,
    conv_state: Tensor | None,
    scan_state: Tensor | None,
    cu_seqlens: Tensor | None,
    backend: str | None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.mamba_inner` by the operations it is made of, each by ``backend``.

    Returns:
        out (B, L, M) and the scan's final state.
    """
    x, z = xz.chunk(2, dim=-1)
    u = causal_conv1d(
        x,
        conv_weight,
        conv_bias,
        activation=True,
        initial_state=conv_state,
        cu_seqlens=cu_seqlens,
        backend=backend,
    )
    rank, d_state = dt_proj.shape[1], A.shape[1]
    low, B, C = torch.split(F.linear(u, x_proj.to(u.dtype)), [rank, d_state, d_state], dim=-1)
    y, final_state = selective_scan(
        u,
        F.linear(low, dt_proj.to(u.dtype)),
        A,
        B,
        C,
        D,
        z,
        dt_bias,
        delta_softplus=True,
        initial_state=scan_state,
        cu_seqlens=cu_seqlens,
        return_final_state=True,
        backend=backend,
    )
    return F.linear(y, out_proj.to(u.dtype)), final_state

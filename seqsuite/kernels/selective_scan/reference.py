"""The selective scan as the paper writes it, step after step in plain PyTorch: slow, exact, the oracle."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.checks import sequence_offsets


def real_dtype(u: Tensor) -> torch.dtype:
    """Return the dtype of the computation's real numbers: float64 where ``u`` is, else float32."""
    return torch.float64 if u.dtype == torch.float64 else torch.float32


def state_dtype(u: Tensor, A: Tensor) -> torch.dtype:
    """Return the state's dtype: of the computation's real numbers, or complex of their precision if A is."""
    # torch.compile knows no dtype.to_complex()
    real = real_dtype(u)
    if A.is_complex():
        return torch.complex128 if real == torch.float64 else torch.complex64
    return real


def discretise_step_size(delta: Tensor, delta_bias: Tensor | None, delta_softplus: bool) -> Tensor:
    """Return the step size Δ = softplus(delta + delta_bias), each part where it is asked for."""
    if delta_bias is not None:
        delta = delta + delta_bias.to(delta.dtype)
    # From the threshold on PyTorch returns x itself; at its default of 20 that is wrong in float64.
    return F.softplus(delta, threshold=40.0) if delta_softplus else delta


def step(h: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Advance the recurrence by one position.

    Args:
        h: state (B, G, D/G, N).
        u, delta: input and step size (B, G, D/G).
        A: (G, D/G, N).
        B, C: (B, G, 1, N), or (G, D/G, N) where they are constant.

    Returns:
        y (B, G, D/G), without the skip ``D u`` and the gate, and the next state.
    """
    h = torch.exp(delta[..., None] * A) * h + (delta * u)[..., None] * B
    y = (h * C).sum(-1)
    # A complex state stands for itself and its conjugate, so that their sum is twice the real part.
    return (2 * y.real if y.is_complex() else y), h


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scan step by step; :func:`seqsuite.kernels.selective_scan` says what the arguments mean.

    Autograd keeps every state, (B, L, D, N) in all.

    Returns:
        y (B, L, D) in ``u``'s dtype and the final state, (B, D, N), or (S, D, N) for packed sequences.
    """
    dtype, real = state_dtype(u, A), real_dtype(u)
    x, delta = u.to(real), discretise_step_size(delta.to(real), delta_bias, delta_softplus)
    B, C = (t.unsqueeze(2) if t.dim() == 3 else t for t in (B, C))
    A, B, C = A.to(dtype), *(t if t.is_complex() else t.to(real) for t in (B, C))
    n_sequences = u.shape[0] if cu_seqlens is None else len(cu_seqlens) - 1
    if initial_state is None:
        initial_state = torch.zeros(n_sequences, *A.shape, dtype=dtype, device=u.device)
    initial_state = initial_state.to(dtype)

    if cu_seqlens is None:
        y, final_state = _scan(x, delta, A, B, C, initial_state)
    else:
        offsets = sequence_offsets(cu_seqlens, u.shape[1])
        pieces = []
        for s, (start, end) in enumerate(pairwise(offsets)):
            B_s, C_s = (t if t.dim() == 2 else t[:, start:end] for t in (B, C))
            u_s, delta_s, state = x[:, start:end], delta[:, start:end], initial_state[s : s + 1]
            pieces.append(_scan(u_s, delta_s, A, B_s, C_s, state))
        y = torch.cat([y for y, _ in pieces], dim=1)
        final_state = torch.cat([state for _, state in pieces])

    if D is not None:
        y = y + D.to(real) * x
    if z is not None:
        y = y * F.silu(z.to(real))
    return y.to(u.dtype), final_state


def _scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the recurrence from ``state`` (B, D, N); return y (B, L, D) and the final state."""
    batch, seqlen, d_model = u.shape
    groups = next((t.shape[2] for t in (B, C) if t.dim() == 4), 1)
    width, d_state = d_model // groups, A.shape[-1]
    h = state.reshape(batch, groups, width, d_state)
    A = A.reshape(groups, width, d_state)
    u, delta = (t.reshape(batch, seqlen, groups, width) for t in (u, delta))

    def positions(projection: Tensor) -> Sequence[Tensor]:
        if projection.dim() == 2:
            return [projection.reshape(groups, width, d_state)] * seqlen
        return projection.unsqueeze(3).unbind(1)

    ys = []
    # unbind, not t[:, i]: the backward of the latter writes a tensor of the whole length at each step
    for inputs in zip(u.unbind(1), delta.unbind(1), positions(B), positions(C), strict=True):
        u_t, delta_t, B_t, C_t = inputs
        y_t, h = step(h, u_t, delta_t, A, B_t, C_t)
        ys.append(y_t)
    y = torch.stack(ys, dim=1) if ys else torch.zeros_like(u)
    return y.flatten(2), h.flatten(1, 2)

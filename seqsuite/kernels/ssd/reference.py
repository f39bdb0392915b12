"""The scan of Mamba-2 as its equation says, position after position: the oracle, and the step of a model."""

import torch
from torch import Tensor


def step(state: Tensor, u: Tensor, a: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Advance the recurrence by one position.

    Args:
        state: (B, H, P, N).
        u: Δ x (B, H, P).
        a: Δ A (B, H).
        B, C: (B, G, N).

    Returns:
        y (B, H, P), without the skip, and the next state.
    """
    per_group = u.shape[1] // B.shape[1]
    B, C = (t.repeat_interleave(per_group, dim=1).unsqueeze(2) for t in (B, C))
    state = torch.exp(a)[..., None, None] * state + u.unsqueeze(-1) * B
    return (state * C).sum(-1), state


def ssd_reference(u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the recurrence over u = Δ x (B, L, H, P), a = Δ A (B, L, H), B and C (B, L, G, N).

    Returns:
        y (B, L, H, P), without the skip, and the final state (B, H, P, N).
    """
    ys = []
    for u_t, a_t, B_t, C_t in zip(*(t.unbind(1) for t in (u, a, B, C)), strict=True):
        y_t, state = step(state, u_t, a_t, B_t, C_t)
        ys.append(y_t)
    return (torch.stack(ys, dim=1) if ys else u), state

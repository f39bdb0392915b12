"""The gated delta rule as its equation says, position after position: the oracle, and the step of a model."""

import torch
from torch import Tensor


def step(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance the recurrence by one position.

    The equation, with what the decayed state holds under the key taken out of it and the new value put in:
    S_t = α S + β (v − α S k) kᵀ.

    Args:
        state: (B, H, P, N).
        q, k: (B, H, N).
        v: (B, H, P).
        log_decay, beta: (B, H).

    Returns:
        y (B, H, P) and the next state.
    """
    decayed = torch.exp(log_decay)[..., None, None] * state
    held = (decayed * k.unsqueeze(-2)).sum(-1)
    state = decayed + (beta.unsqueeze(-1) * (v - held)).unsqueeze(-1) * k.unsqueeze(-2)
    return (state * q.unsqueeze(-2)).sum(-1), state


def gated_delta_rule_reference(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, *, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the recurrence; :func:`seqsuite.kernels.gated_delta_rule` says what the arguments are."""
    ys = []
    for inputs in zip(*(t.unbind(1) for t in (q, k, v, log_decay, beta)), strict=True):
        y, state = step(state, *inputs)
        ys.append(y)
    return (torch.stack(ys, dim=1) if ys else v), state

"""The scan of Mamba-2 by matrix products within chunks (arXiv 2405.21060, section 6 and listing 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ssd_chunked(
    u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.ssd.reference.ssd_reference` in chunks of ``chunk`` positions.

    Within a chunk the model is masked attention, y = (L ∘ C Bᵀ) u, with L_ij the decay from j to i; what
    comes from before it passes through the state. Decays are exponentials of sums that are never positive,
    so that none overflows, however fast a head forgets.

    Args:
        u: Δ x (B, L, H, P).
        a: Δ A (B, L, H), not positive.
        B, C: (B, L, G, N).
        state: (B, H, P, N).
        chunk: Positions Q a chunk.

    Returns:
        y (B, L, H, P), without the skip, and the final state.
    """
    length, groups = u.shape[1], B.shape[2]
    if length == 0:
        return u, state
    chunk = min(chunk, length)
    batch, _, heads, width = u.shape
    u, a, B, C = (in_chunks(t, chunk) for t in (u, a, B, C))  # (B, chunks, Q, heads or groups, …)
    B, C = B.transpose(2, 3), C.transpose(2, 3)
    total = a.cumsum(2)  # the decay's exponent from the chunk's start to each position's end
    grouped = (*u.shape[:3], groups, heads // groups * width)

    # Within the chunk, for each head a matrix (Q, Q): decays times what its group's B and C make.
    decays = decays_within(total.transpose(2, 3))
    scores = (decays.reshape(*B.shape[:3], -1, chunk, chunk) * (C @ B.mT).unsqueeze(3)).flatten(2, 3)
    within = scores @ u.transpose(2, 3)

    # What each chunk adds to the state, and then the state that enters each; a group's heads side by side.
    kept = torch.exp(total[:, :, -1:] - total).unsqueeze(-1)
    added = (kept * u).reshape(grouped).transpose(2, 3).mT @ B
    through = torch.exp(total[:, :, -1])[..., None, None]
    entering = []
    for decay, gain in zip(through.unbind(1), added.unbind(1), strict=True):
        entering.append(state.reshape(gain.shape))
        state = decay * state + gain.reshape(state.shape)
    before = (C @ torch.stack(entering, dim=1).mT).transpose(2, 3).reshape(u.shape)

    y = within.transpose(2, 3) + torch.exp(total).unsqueeze(-1) * before
    return y.reshape(batch, -1, heads, width)[:, :length], state


def decays_within(total: Tensor) -> Tensor:
    """Return exp(g_i − g_j) for i ≥ j and 0 above, (…, Q, Q), from sums of exponents g (…, Q)."""
    chunk = total.shape[-1]
    future = torch.full((chunk, chunk), -torch.inf, device=total.device, dtype=total.dtype).triu(1)
    return torch.exp(total.unsqueeze(-1) - total.unsqueeze(-2) + future)


def in_chunks(t: Tensor, chunk: int) -> Tensor:
    """Cut (B, L, …) into (B, chunks, chunk, …), the last chunk filled up with zeros.

    A zero has no decay and no input, so that the state passes through it.
    """
    missing = -t.shape[1] % chunk
    padded = F.pad(t, (0, 0) * (t.dim() - 2) + (0, missing)) if missing else t
    return padded.reshape(len(t), -1, chunk, *t.shape[2:])

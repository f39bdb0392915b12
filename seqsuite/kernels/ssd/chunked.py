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
    u, a, B, C = (in_chunks(t, chunk) for t in (u, a, B, C))
    # From here on (B, chunks, heads or groups, Q, …): heads as (G, H / G), so that groups broadcast.
    u, a = (t.reshape(*t.shape[:2], groups, -1, *t.shape[3:]) for t in (u, a))
    B, C = B.unsqueeze(3), C.unsqueeze(3)
    total = a.cumsum(-1)  # the decay's exponent from the chunk's start to each position's end
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=u.device).tril()
    between = (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(~causal, -torch.inf)
    within = (torch.exp(between) * (C @ B.mT)) @ u
    kept = torch.exp(total[..., -1:] - total).unsqueeze(-1)  # how much of each position the chunk's end holds
    added = (kept * u).mT @ B  # (B, chunks, G, H / G, P, N)
    through = torch.exp(total[..., -1])[..., None, None]
    entering, h = [], state.reshape(len(state), groups, -1, *state.shape[2:])
    for decay, gain in zip(through.unbind(1), added.unbind(1), strict=True):
        entering.append(h)
        h = decay * h + gain
    before = torch.exp(total).unsqueeze(-1) * (C @ torch.stack(entering, dim=1).mT)
    y = (within + before).flatten(2, 3).transpose(2, 3).flatten(1, 2)
    return y[:, :length], h.flatten(1, 2)


def in_chunks(t: Tensor, chunk: int) -> Tensor:
    """Cut (B, L, H, …) into (B, chunks, H, chunk, …), the last chunk filled up with zeros.

    A zero has no decay and no input, so that the state passes through it.
    """
    missing = -t.shape[1] % chunk
    padded = F.pad(t, (0, 0) * (t.dim() - 2) + (0, missing)) if missing else t
    return padded.reshape(len(t), -1, chunk, *t.shape[2:]).transpose(2, 3)

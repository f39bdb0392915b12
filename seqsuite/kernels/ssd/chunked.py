"""The scan of Mamba-2 by matrix products within chunks (arXiv 2405.21060, section 6)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Gradients = tuple[Tensor | None, ...]


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
    batch, length, heads, width = u.shape
    if length == 0:
        return u, state
    chunk = min(chunk, length)
    u, a, B, C = (in_chunks(t, chunk) for t in (u, a, B, C))
    B, C = B.transpose(2, 3), C.transpose(2, 3)
    y, state = _Chunks.apply(u, a.cumsum(2), B, C, state)  # type: ignore[no-untyped-call]  # in torch
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


class _Chunks(torch.autograd.Function):
    """All chunks at once, with a backward that keeps about half of what autograd would (and has none itself).

    With g the sums of exponents from the chunk's start, S = L ∘ C Bᵀ, and h and h' the states that enter and
    leave the chunk::

        y_i = Σ_j S_ij u_j + exp(g_i) h C_i          h' = exp(g_Q) h + Σ_j exp(g_Q − g_j) u_j B_jᵀ

    Exponents enter y_i with +g_i, u_j with −g_j and h' with +g_Q, so that the gradient of g_i is
    dy_i · y_i − u_i · du_i, and for the last of a chunk dh' · h' besides.

    Shapes, with c for the number of chunks: u and y (B, c, Q, H, P), g (B, c, Q, H), B and C (B, c, G, Q, N),
    the state (B, H, P, N). Products with B and C take the R = H / G · P channels of a group together.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, total: Tensor, B: Tensor, C: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        by_head = u.transpose(2, 3).contiguous()
        decays = decays_within(total.transpose(2, 3))
        since_start, until_end, through = _decays(total)
        added = _states(_by_group(u * until_end, B).mT @ B, u)
        entering = torch.empty_like(added)
        for index in range(added.shape[1]):
            entering[:, index] = state
            state = torch.addcmul(added[:, index], through[:, index], state)
        y = _by_position(C @ _by_channel(entering, B).mT, u).mul_(since_start)
        y.add_((_scores(decays, B, C) @ by_head).transpose(2, 3))
        ctx.save_for_backward(by_head, total, B, C, decays, entering, y, state)
        return y, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dstate: Tensor) -> tuple[Tensor | None, ...]:
        by_head, total, B, C, decays, entering, y, final = ctx.saved_tensors
        u, dy_by_head = by_head.transpose(2, 3), dy.transpose(2, 3).contiguous()
        since_start, until_end, through = _decays(total)
        reached = _by_group(dy * since_start, B)
        gained = _states(reached.mT @ C, u)
        leaving = torch.empty_like(gained)  # gradients of the states that leave each chunk
        for index in reversed(range(gained.shape[1])):
            leaving[:, index] = dstate
            dstate = torch.addcmul(gained[:, index], through[:, index], dstate)

        weights = (dy_by_head @ by_head.mT).mul_(decays)
        weights = weights.reshape(*B.shape[:3], -1, *weights.shape[3:]).sum(3)
        dB = weights.mT @ C + _by_group(u * until_end, B) @ _by_channel(leaving, B)
        dC = weights @ B + reached @ _by_channel(entering, B)
        du = _by_position(B @ _by_channel(leaving, B).mT, u).mul_(until_end)
        du.add_((_scores(decays, B, C).mT @ dy_by_head).transpose(2, 3))
        dtotal = None
        if ctx.needs_input_grad[1]:
            dtotal = (dy * y).sum(-1) - (u * du).sum(-1)
            after = torch.cat([entering[:, 1:], final.unsqueeze(1)], dim=1)
            dtotal[:, :, -1] += (leaving * after).sum((-1, -2))
        return du, dtotal, dB, dC, dstate


def _decays(total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return decays from the chunk's start to each position, from each position to its end, and through it.

    The first two are (B, c, Q, H, 1), the last (B, c, H, 1, 1).
    """
    end = total[:, :, -1:]
    since_start, until_end = torch.exp(total), torch.exp(end - total)
    return since_start.unsqueeze(-1), until_end.unsqueeze(-1), torch.exp(end).transpose(2, 3).unsqueeze(-1)


def _scores(decays: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Return S = L ∘ C Bᵀ, (B, c, H, Q, Q)."""
    grouped = decays.reshape(*B.shape[:3], -1, *decays.shape[3:])
    return (grouped * (C @ B.mT).unsqueeze(3)).flatten(2, 3)


def _by_group(t: Tensor, B: Tensor) -> Tensor:
    """Turn (B, c, Q, H, P) into (B, c, G, Q, R)."""
    return t.reshape(*t.shape[:3], B.shape[2], -1).transpose(2, 3)


def _by_position(t: Tensor, like: Tensor) -> Tensor:
    """Turn (B, c, G, Q, R) into (B, c, Q, H, P)."""
    return t.transpose(2, 3).reshape(like.shape)


def _by_channel(states: Tensor, B: Tensor) -> Tensor:
    """Turn states (B, c, H, P, N) into (B, c, G, R, N)."""
    return states.reshape(*B.shape[:3], -1, states.shape[-1])


def _states(t: Tensor, u: Tensor) -> Tensor:
    """Turn (B, c, G, R, N) into (B, c, H, P, N)."""
    return t.reshape(*t.shape[:2], *u.shape[3:], t.shape[-1])

"""The gated delta rule by matrix products within chunks (arXiv 2412.06464, section 3.3)."""

import torch
from torch import Tensor

from seqsuite.kernels.ssd.chunked import decays_within, in_chunks


def gated_delta_rule_chunked(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, *, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.gated_delta_rule.reference.gated_delta_rule_reference` in chunks.

    Written S_i = α_i S_{i-1} + u_i k_iᵀ, what is added at position i is u_i = β_i (v_i − α_i S_{i-1} k_i).
    With g the sums of log α from the chunk's start, S the state before it, and everything that was added in
    between, that is a unit lower triangular system in the rows of U::

        u_i + Σ_{j < i} β_i exp(g_i − g_j) (k_i · k_j) u_j = β_i v_i − β_i exp(g_i) S k_i

    It is solved for both parts of the right side at once, for all chunks in parallel; only S passes from one
    chunk to the next. Exponents are never positive.

    Args:
        q, k, v, log_decay, beta: See :func:`seqsuite.kernels.gated_delta_rule`.
        state: (B, H, P, N).
        chunk: Positions Q a chunk.

    Returns:
        y (B, L, H, P) and the final state.
    """
    length = v.shape[1]
    if length == 0:
        return v, state
    chunk = min(chunk, length)
    # From here on (B, chunks, H, Q, …).
    inputs = (in_chunks(t, chunk).transpose(2, 3) for t in (q, k, v, log_decay, beta))
    q, k, v, log_decay, beta = inputs
    total, beta = log_decay.cumsum(-1), beta.unsqueeze(-1)
    between = decays_within(total)
    since_start, until_end = torch.exp(total).unsqueeze(-1), torch.exp(total[..., -1:] - total).unsqueeze(-1)
    system = (beta * between * (k @ k.mT)).tril(-1)  # and ones on the diagonal, which the solver assumes
    right = torch.cat([beta * v, beta * since_start * k], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    new, correction = torch.split(solved, [v.shape[-1], k.shape[-1]], dim=-1)
    scores, queries, keys = between * (q @ k.mT), since_start * q, until_end * k
    through = torch.exp(total[..., -1])[..., None, None]
    ys = []
    for parts in zip(*(t.unbind(1) for t in (new, correction, scores, queries, keys, through)), strict=True):
        new_c, correction_c, scores_c, queries_c, keys_c, through_c = parts
        added = new_c - correction_c @ state.mT
        ys.append(queries_c @ state.mT + scores_c @ added)
        state = through_c * state + added.mT @ keys_c
    y = torch.stack(ys, dim=1).transpose(2, 3).flatten(1, 2)
    return y[:, :length], state

"""The peers of Mamba-2's scan: the same function by matrix products, and by a loop."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.peers import (
    OURS,
    Backend,
    Function,
    Inputs,
    Operation,
    Peer,
    Shape,
    compile_for_each_shape,
)
from seqsuite.kernels import ssd

HEAD_WIDTH = 64
CHUNK, LONG_CHUNK = 64, 128
"""Positions a chunk of the matrix form: compiled, the first is faster with a backward, the second without."""


def ssd_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return the scan's arguments, with A and step sizes as Mamba-2's initialisation has them."""
    B, L, D, N = shape
    H = D // HEAD_WIDTH

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    return {
        "x": normal(B, L, D),
        "dt": normal(B, L, H) / 2,
        "A": -torch.linspace(1, 16, H, dtype=torch.float64),
        "B": normal(B, L, N),
        "C": normal(B, L, N),
        "D": normal(H),
        "dt_bias": normal(H) / 2 - 4,  # softplus gives about 0.02, in the middle of 0.001 … 0.1
    }


def _ours(
    backend: str | None,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    dt_bias: Tensor,
) -> Tensor:
    heads = x.view(*x.shape[:2], len(A), -1)
    B, C = B.unsqueeze(2), C.unsqueeze(2)
    y: Tensor = ssd(heads, dt, A, B, C, D, dt_bias, dt_softplus=True, backend=backend)
    return y.flatten(2)


def _matrix_form(
    longest: int, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor
) -> Tensor:
    """All chunks at once by products of matrices (arXiv 2405.21060, section 6), for lengths of whole chunks.

    Letters: c chunks of q positions, h heads of p channels, n states, and k for an earlier position or chunk.
    """
    batch, seqlen, d_model = x.shape
    chunk = min(longest, seqlen)
    by_chunk = (batch, -1, chunk)
    delta = F.softplus(dt + dt_bias)
    heads = x.view(batch, seqlen, len(A), -1)
    u = (delta.unsqueeze(-1) * heads).view(*by_chunk, *heads.shape[2:])
    B, C = (projection.view(*by_chunk, projection.shape[2]) for projection in (B, C))
    total = (delta * A).view(*by_chunk, len(A)).cumsum(2)  # (B, c, q, h)
    end = total[:, :, -1]

    later = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    within = (total.unsqueeze(3) - total.unsqueeze(2)).masked_fill(~later[:, :, None], -torch.inf).exp()
    scores = torch.einsum("bcqn,bckn->bcqk", C, B).unsqueeze(-1) * within
    y = torch.einsum("bcqkh,bckhp->bcqhp", scores, u)

    added = torch.einsum("bckn,bckh,bckhp->bchpn", B, (end.unsqueeze(2) - total).exp(), u)
    before = end.cumsum(1) - end  # exponents up to a chunk's start
    chunks = end.shape[1]
    earlier = torch.ones(chunks, chunks, dtype=torch.bool, device=x.device).tril(-1)
    between = before.unsqueeze(2) - end.cumsum(1).unsqueeze(1)
    between = between.masked_fill(~earlier[:, :, None], -torch.inf).exp()
    entering = torch.einsum("bckh,bkhpn->bchpn", between, added)
    y = y + torch.einsum("bcqn,bchpn,bcqh->bcqhp", C, entering, total.exp())
    return (y.reshape(heads.shape) + D.unsqueeze(-1) * heads).reshape(batch, seqlen, d_model)


def make_matrix_form(chunk: int = CHUNK, backend: Backend = "inductor") -> Function:
    """Return the matrix form, compiled; ``"eager"`` runs the same formula without a compiler."""
    return compile_for_each_shape(partial(_matrix_form, chunk), backend)


SSD = Operation(
    name="Mamba-2's scan",
    inputs=ssd_inputs,
    reference=partial(_ours, "reference"),
    check_shape=Shape(2, 128, 128, 16),
    sequences=("x", "dt", "B", "C"),
)

SSD_PEERS = [
    Peer(OURS, "the fastest backend for this device", SSD, lambda: partial(_ours, None)),
    Peer("chunked", "seqsuite's matrix products in plain PyTorch", SSD, lambda: partial(_ours, "chunked")),
    Peer(
        "matrix-form",
        "matrix products, all chunks at once, plain PyTorch",
        SSD,
        lambda: partial(_matrix_form, CHUNK),
    ),
    Peer("compiled-matrix-form", "torch.compile of the same", SSD, make_matrix_form, compiled=True),
    Peer(
        "compiled-long-chunks",
        f"the same with chunks of {LONG_CHUNK}",
        SSD,
        partial(make_matrix_form, LONG_CHUNK),
        compiled=True,
    ),
    Peer("reference", "step by step, plain PyTorch", SSD, lambda: partial(_ours, "reference"), states=6.0),
]

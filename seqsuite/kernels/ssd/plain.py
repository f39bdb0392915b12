"""The scan of Mamba-2 in plain PyTorch, of whole or packed sequences."""

from torch import Tensor

from seqsuite.kernels.packing import PaddedBatches
from seqsuite.kernels.precision import full_precision
from seqsuite.kernels.ssd.chunked import ssd_chunked
from seqsuite.kernels.ssd.reference import ssd_reference


def ssd_plain(
    u: Tensor,
    a: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    cu_seqlens: Tensor | None,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor]:
    """Run the scan in chunks, or by position if ``chunk_size`` is ``None``.

    Args:
        u: Δ x (B, L, H, P).
        a: Δ A (B, L, H), not positive.
        B, C: (B, L, G, N).
        state: (B, H, P, N), or (S, H, P, N) of packed sequences.
        cu_seqlens: Offsets (S + 1,) of sequences packed along L, with B = 1.
        chunk_size: Positions a chunk.

    Returns:
        y (B, L, H, P), without the skip, and the final state.
    """
    if cu_seqlens is not None:
        # Where there is padding, nothing decays and nothing is added: the state passes through it.
        batches = PaddedBatches.of(cu_seqlens, u.shape[1], u.device)
        parts = [*(batches.split(t) for t in (u, a, B, C)), batches.split_states(state)]
        scanned = [ssd_plain(u, a, B, C, h, None, chunk_size) for u, a, B, C, h in zip(*parts, strict=True)]
        return batches.join([y for y, _ in scanned]), batches.join_states([state for _, state in scanned])
    with full_precision(u.device):
        if chunk_size is None:
            return ssd_reference(u, a, B, C, state)
        return ssd_chunked(u, a, B, C, state, chunk_size)

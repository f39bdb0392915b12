"""Long causal convolution in O(L log L), plain PyTorch."""

from itertools import pairwise

import torch
from torch import Tensor

from seqsuite.kernels.packing import PaddedBatches


def long_conv(
    u: Tensor, kernel: Tensor, *, initial_state: Tensor | None = None, cu_seqlens: Tensor | None = None
) -> Tensor:
    """Convolve each channel causally: y_t = Σ_k kernel[:, k] · u_{t - k}.

    Args:
        u: Inputs (B, L, D), float32 or float64 (lower precisions are computed in float32).
        kernel: Filters (D, K), of any length K: a shorter one ends, of a longer one the rest is not needed.
        initial_state: Inputs before the first position, (B, T, D) of any number T, or (S, T, D) when packed;
            without it, and before it, inputs are zero.
        cu_seqlens: Offsets (S + 1,) of S sequences packed along L, with B = 1: no tap reaches over a border.

    Returns:
        Outputs (B, L, D) in u's dtype.

    Raises:
        ValueError: a shape does not fit the others'.
    """
    _check(u, kernel, initial_state, cu_seqlens)
    if cu_seqlens is None:
        return _convolve(u, kernel, initial_state)
    batches = PaddedBatches.of(cu_seqlens, u.shape[1], u.device)
    parts = batches.split(u)
    histories = [None for _ in parts] if initial_state is None else batches.split_states(initial_state)
    return batches.join([_convolve(part, kernel, h) for part, h in zip(parts, histories, strict=True)])


def _convolve(u: Tensor, kernel: Tensor, history: Tensor | None) -> Tensor:
    length, work = u.shape[1], torch.promote_types(u.dtype, torch.float32)
    padded = u.to(work) if history is None else torch.cat([history.to(work), u.to(work)], dim=1)
    total = padded.shape[1]
    if length == 0:
        return u
    kernel = kernel[:, :total].to(work)
    # Zeros up to the sum of both lengths keep the FFT's circular convolution from wrapping around, so that
    # no output sees a later input.
    size = _transform_length(total + kernel.shape[1] - 1)
    transformed = torch.fft.rfft(padded.transpose(1, 2), n=size) * torch.fft.rfft(kernel, n=size)
    y: Tensor = torch.fft.irfft(transformed, n=size)
    return y[..., total - length : total].transpose(1, 2).to(u.dtype)


def _transform_length(length: int) -> int:
    """Return a length of at least ``length`` that a transform is fast for.

    To torch.compile the length may be a symbol, which one can round but not search.
    """
    return -(-length // 64) * 64 if torch.compiler.is_compiling() else fast_length(length)


def fast_length(length: int) -> int:
    """Return the smallest number of at least ``length`` that is even and has no prime factor above 5.

    The FFT of a length with large prime factors takes several times as long.
    """
    best = 2
    while best < length:
        best *= 2
    power5 = 1
    while power5 < best:
        power35 = power5
        while power35 < best:
            candidate = power35 * 2
            while candidate < length:
                candidate *= 2
            best = min(best, candidate)
            power35 *= 3
        power5 *= 5
    return best


def _check(u: Tensor, kernel: Tensor, initial_state: Tensor | None, cu_seqlens: Tensor | None) -> None:
    if u.dim() != 3:
        raise ValueError(f"long_conv: u must have shape (B, L, D), not {tuple(u.shape)}")
    if kernel.dim() != 2 or kernel.shape[0] != u.shape[2]:
        raise ValueError(
            f"long_conv: kernel must have shape (D, K) with D = {u.shape[2]}, not {tuple(kernel.shape)}"
        )
    sequences = u.shape[0]
    if cu_seqlens is not None:
        if u.shape[0] != 1:
            raise ValueError(f"long_conv: with cu_seqlens u must have shape (1, L, D), not {tuple(u.shape)}")
        offsets, sequences = cu_seqlens.tolist(), len(cu_seqlens) - 1
        if offsets[0] != 0 or offsets[-1] != u.shape[1] or any(a > b for a, b in pairwise(offsets)):
            raise ValueError(
                f"long_conv: cu_seqlens must rise from 0 to L = {u.shape[1]}, but holds {offsets}"
            )
    if initial_state is not None and (
        initial_state.dim() != 3
        or (initial_state.shape[0], initial_state.shape[2]) != (sequences, u.shape[2])
    ):
        raise ValueError(
            f"long_conv: initial_state must have shape ({sequences}, T, {u.shape[2]}), "
            f"not {tuple(initial_state.shape)}"
        )

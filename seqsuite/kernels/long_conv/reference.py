"""Long causal convolution in O(L log L), plain PyTorch."""

import torch
from torch import Tensor


def long_conv(u: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel causally: y_t = Σ_{k ≤ t} kernel[:, k] · u_{t - k}.

    Args:
        u: Inputs (B, L, D), float32 or float64 (lower precisions are computed in float32).
        kernel: Filters (D, L).

    Returns:
        Outputs (B, L, D) in u's dtype. Padding to 2 L keeps the circular convolution of the FFT from
        wrapping around, so that no output sees a later input.
    """
    length = u.shape[1]
    work = torch.promote_types(u.dtype, torch.float32)
    transformed = torch.fft.rfft(u.to(work).transpose(1, 2), n=2 * length) * torch.fft.rfft(
        kernel.to(work), n=2 * length
    )
    y: Tensor = torch.fft.irfft(transformed, n=2 * length)
    return y[..., :length].transpose(1, 2).to(u.dtype)

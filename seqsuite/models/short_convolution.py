"""The short causal convolution that layers put in front of their mixing, with its state: the last inputs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import causal_conv1d
from seqsuite.models.precision import widened
from seqsuite.models.split import window_before


def short_filters(width: int, taps: int) -> Tensor:
    """Return initial filters (width, taps), as PyTorch's convolutions start: uniform within ±1/√taps."""
    bound = 1 / math.sqrt(taps)
    return torch.empty(width, taps).uniform_(-bound, bound)


def short_biases(width: int, taps: int) -> Tensor:
    """Return initial biases (width,) for filters of so many taps."""
    return short_filters(width, taps)[:, 0].contiguous()


def convolve(
    x: Tensor,
    history: Tensor | None,
    weight: nn.Parameter,
    bias: nn.Parameter | None = None,
    *,
    activation: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Convolve a chunk (B, L, D) that follows ``history`` (B, K − 1, D), or (S, K − 1, D) when packed.

    Returns:
        The outputs (see :func:`seqsuite.kernels.causal_conv1d`), and the history after the chunk if there
        was one before it.
    """
    if history is None:
        return causal_conv1d(x, weight, bias, activation=activation, cu_seqlens=cu_seqlens), None
    return causal_conv1d(
        x,
        weight,
        bias,
        activation=activation,
        initial_state=window_before(history, x),
        cu_seqlens=cu_seqlens,
        return_final_state=True,
    )


def convolve_step(
    x_t: Tensor,
    history: Tensor,
    weight: nn.Parameter,
    bias: nn.Parameter | None = None,
    *,
    activation: bool = False,
) -> tuple[Tensor, Tensor]:
    """Do for one position (B, D) what :func:`convolve` does."""
    window = torch.cat([history.to(x_t.dtype), x_t.unsqueeze(1)], dim=1)
    y = (widened(window) * weight.T).sum(1)
    y = y if bias is None else y + bias
    return (F.silu(y) if activation else y).to(x_t.dtype), window[:, 1:]

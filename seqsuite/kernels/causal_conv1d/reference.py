"""Causal depthwise convolution in plain PyTorch, channel-last."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """Convolve each channel with its own short filter: y_t = Σ_k weight[:, k] · x_{t - K + 1 + k} + bias.

    Args:
        x: Inputs (B, L, D), any floating dtype.
        weight: Filters (D, K); the last tap meets the present position.
        bias: Bias (D,).
        activation: Whether to apply SiLU to the result.
        initial_state: The K - 1 inputs before the first position, (B, K - 1, D) — (S, K - 1, D) when packed;
            zeros if not given.
        cu_seqlens: Offsets (S + 1,) of sequences packed along L, with B = 1: no tap reaches over a border.

    Returns:
        Outputs (B, L, D).
    """
    taps = weight.shape[1]
    if cu_seqlens is None:
        history = x.new_zeros(x.shape[0], taps - 1, x.shape[2]) if initial_state is None else initial_state
        y = _convolve(torch.cat([history.to(x.dtype), x], dim=1), weight, bias)
        return F.silu(y) if activation else y
    offsets = cu_seqlens.tolist()
    parts = [
        causal_conv1d(
            x[:, start:end],
            weight,
            bias,
            activation=activation,
            initial_state=None if initial_state is None else initial_state[index : index + 1],
        )
        for index, (start, end) in enumerate(pairwise(offsets))
    ]
    return torch.cat(parts, dim=1)


def _convolve(padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve inputs (B, K - 1 + L, D) that already hold their history, into (B, L, D)."""
    if padded.shape[1] < weight.shape[1]:  # no position at all, which conv1d refuses
        return padded[:, weight.shape[1] - 1 :]
    columns = F.conv1d(padded.transpose(1, 2), weight.unsqueeze(1), bias, groups=weight.shape[0])
    return columns.transpose(1, 2)

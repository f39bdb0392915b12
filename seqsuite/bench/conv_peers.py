"""The peers of the short causal convolution with SiLU."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.peers import OURS, Function, Inputs, Operation, Peer, Shape
from seqsuite.kernels import causal_conv1d


def conv_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return a sequence (B, L, D), filters (D, K) and biases (D,)."""
    B, L, D, K = shape
    sizes = {"x": (B, L, D), "weight": (D, K), "bias": (D,)}
    return {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}


def _sum_of_taps(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padded = F.pad(x, (0, 0, weight.shape[1] - 1, 0))
    return F.silu((padded.unfold(1, weight.shape[1], 1) * weight).sum(-1) + bias)


def _ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return causal_conv1d(x, weight, bias, activation=True)


def _conv1d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """PyTorch's convolution in the layout it is made for, padded on both sides and cut."""
    y = F.conv1d(
        x,
        weight.unsqueeze(1),
        bias,
        padding=weight.shape[1] - 1,
        groups=x.shape[1],
    )
    return F.silu(y[..., : x.shape[2]])


def _transformers() -> Function:
    from transformers.models.mamba.modeling_mamba import causal_conv1d_fn
    from transformers.utils import logging

    logging.set_verbosity_error()

    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y: Tensor = causal_conv1d_fn(x, weight, bias, activation="silu")
        return y

    return convolve


CONVOLUTION = Operation(
    name="short causal convolution with SiLU",
    inputs=conv_inputs,
    reference=_sum_of_taps,
    check_shape=Shape(2, 33, 20, 4),
    sequences=("x", "weight", "bias"),
)

CONV_PEERS = [
    Peer(OURS, "the fastest form for this device, channel-last", CONVOLUTION, lambda: _ours),
    Peer("conv1d", "PyTorch's grouped conv1d, (B, D, L)", CONVOLUTION, lambda: _conv1d, channels_first=True),
    Peer(
        "transformers",
        "transformers' MambaMixer without CUDA kernels, (B, D, L)",
        CONVOLUTION,
        _transformers,
        packages=("transformers",),
        channels_first=True,
    ),
]

"""Hyena's implicit long convolution (Poli et al., 2023, arXiv 2302.10866, section 3.3)."""

import math
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqsuite.kernels import full_precision, long_conv
from seqsuite.models.base import Inspected, Mixer, State, longest_sequence
from seqsuite.models.flops import long_convolution_flops
from seqsuite.models.initialization import assign
from seqsuite.models.precision import WideLinear, widened
from seqsuite.models.split import split_peers
from seqsuite.options import PositiveFloat, PositiveInt


class Hyena(Mixer):
    """Implicit long convolution: a filter as long as the input, given by a small network over the position.

    h(t) = exp(−α t) · MLP(features of t), with sines for activations, times the input, plus a skip: what lies
    between the two gates of an order-2 Hyena operator. The H3 block with short convolutions on queries, keys
    and values adds those gates, so that ``model=hyena`` is the operator as published; in the Mamba paper's
    tables "Hyena" is this layer in the H3 or the Mamba block.

    The filter has no recurrence, and so no state of constant size: generating keeps every input, and a step
    costs O(L).

    Args:
        d_model: Width D.
        seqlen: Longest input that the model is built for: positions are measured in it, and the decays α are
            spread so that the fastest filter falls to 1 % within 0.3 of it and the slowest within 1.5. Longer
            inputs are allowed.
        filter_width: Width of the network's hidden layers.
        filter_layers: Number of its hidden layers.
        bands: Number of frequencies of the position features, beside the position itself.
        frequency: Initial frequency of the sines.

    Raises:
        ValueError: if packed sequences come with a state: their histories would differ in length.
    """

    packed_state = False
    splits = True
    no_weight_decay = frozenset({"frequencies", "D"})

    def __init__(
        self,
        d_model: int,
        seqlen: int,
        filter_width: PositiveInt = 64,
        filter_layers: Annotated[int, Field(gt=0, le=1000)] = 3,
        bands: PositiveInt = 1,
        frequency: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.d_model, self.seqlen, self.bands, self.frequency = d_model, seqlen, bands, frequency
        widths = [1 + 2 * bands, *[filter_width] * filter_layers]
        self.hidden = nn.ModuleList(WideLinear(before, after) for before, after in pairwise(widths))
        self.frequencies = nn.Parameter(torch.empty(filter_layers, filter_width))
        self.to_filter = WideLinear(filter_width, d_model, bias=False)
        self.D = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the sines' frequencies, and draw the skip from the normal distribution."""
        assign(self.frequencies, torch.full(self.frequencies.shape, self.frequency))
        assign(self.D, torch.randn(self.d_model))

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        if cu_seqlens is not None:
            self.check_packed_state(state)
        if state is None:
            kernel = self.kernel(longest_sequence(x, cu_seqlens))
            return long_conv(x, kernel, cu_seqlens=cu_seqlens) + x * self.D, None
        past = state["inputs"].to(x.dtype)
        if (peers := split_peers()) is not None:
            past = torch.cat([past, peers.positions(x)], dim=1)
        inputs = torch.cat([past, x], dim=1)
        y = long_conv(x, self.kernel(inputs.shape[1]), initial_state=past) + x * self.D
        return y, {"inputs": inputs}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`: a sum over all inputs so far."""
        inputs = torch.cat([state["inputs"].to(x_t.dtype), x_t.unsqueeze(1)], dim=1)
        kernel = self.kernel(inputs.shape[1])
        with full_precision(x_t.device):
            y = torch.einsum("bld,dl->bd", inputs.to(kernel.dtype), kernel.flip(1))
        return y.to(x_t.dtype) + x_t * self.D, {"inputs": inputs}

    def flops(self, seqlen: int) -> int:
        """Return those of the convolution with a kernel, which a batch computes once."""
        return long_convolution_flops(self.d_model, seqlen)

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return the convolution's ``kernel`` (D, L), without the skip."""
        return {"kernel": Inspected(self.kernel(x.shape[1]), ("channel", "lag"), "output an input")}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return no ``inputs`` yet: (B, 0, D)."""
        return {
            "inputs": torch.zeros(batch_size, 0, self.d_model, device=device, dtype=dtype or self.D.dtype)
        }

    def state_size(self, seqlen: int) -> int:
        """Return L · D: every input is kept."""
        return seqlen * self.d_model

    def decays(self, like: Tensor) -> Tensor:
        """Return α of each channel (D,), on the device and in the dtype of ``like``."""
        fastest, slowest = -math.log(0.01) / 0.3, -math.log(0.01) / 1.5
        return torch.linspace(slowest, fastest, self.d_model, device=like.device, dtype=like.dtype)

    def kernel(self, seqlen: int) -> Tensor:
        """Return the filter at positions 0 … seqlen − 1, (D, seqlen)."""
        frequencies = widened(self.frequencies)
        device, dtype = frequencies.device, frequencies.dtype
        t = torch.arange(seqlen, device=device, dtype=dtype).unsqueeze(1) / self.seqlen
        bands = torch.arange(1, self.bands + 1, device=device, dtype=dtype)
        angles = 2 * math.pi * bands * t
        hidden = torch.cat([t, angles.cos(), angles.sin()], dim=1)
        with full_precision(t.device):
            for linear, frequency in zip(self.hidden, frequencies, strict=True):
                hidden = torch.sin(frequency * linear(hidden))
            kernel: Tensor = self.to_filter(hidden) * torch.exp(-t * self.decays(t))
        return kernel.T

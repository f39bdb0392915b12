"""Parameters in half precision: what must not be computed in it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def widened(values: Tensor) -> Tensor:
    """Return ``values`` in float32 at least: half has no complex numbers, and bfloat16 no room for powers."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class WideLinear(nn.Linear):
    """A linear layer that computes in its input's dtype, whatever its weights are stored in.

    It is for inputs that half precision cannot tell apart, such as positions; dynamic quantisation, which
    replaces plain ``nn.Linear``, leaves it as it is.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b in x's dtype."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)

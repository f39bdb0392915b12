"""Initial values that several layers share."""

import math

import torch
from torch import Tensor


def log_uniform(size: int, low: float, high: float) -> Tensor:
    """Return ``size`` values drawn log-uniformly from [low, high]."""
    return torch.exp(torch.empty(size).uniform_(math.log(low), math.log(high)))


def inverse_softplus(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y > 0."""
    return y + torch.log(-torch.expm1(-y))

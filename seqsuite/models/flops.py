"""How much a model computes: 6 · N · tokens for its weights, plus what its mixers do beyond them."""

import math

from torch import nn

from seqsuite.models.backbones.base import Backbone
from seqsuite.models.base import Mixer

_PASSES = 3  # the forward, and the backward, which takes twice as much
_FLOPS = 2  # a multiply-add


def training_flops(model: nn.Module, seqlen: int) -> int:
    """Return the floating-point operations of a train step, for one sequence of ``seqlen`` positions.

    Weights that multiply count 6 a position (Kaplan et al., 2020, arXiv 2001.08361, section 2.1): tables
    that are only looked up in do not. What is computed again to save memory is not counted, so that a share
    of the machine's peak means the same for every kernel.
    """
    return _PASSES * _FLOPS * _multiply_adds(model, seqlen, set())


def long_convolution_flops(channels: int, seqlen: int) -> int:
    """Return the multiply-adds of one sequence's convolution with a kernel as long as itself.

    By real Fourier transforms of twice the length, 2.5 n log2 n operations each, there and back, and the
    product of the two spectra.
    """
    size = 2 * max(seqlen, 1)
    transform = 2.5 * size * math.log2(size) / _FLOPS
    return round(channels * (2 * transform + 2 * size))


def _multiply_adds(module: nn.Module, seqlen: int, seen: set[int]) -> int:
    """Return those of a forward pass; shared modules and weights count once."""
    if isinstance(module, nn.Embedding) or id(module) in seen:
        return 0
    seen.add(id(module))
    count = 0
    for weight in module.parameters(recurse=False):
        if id(weight) not in seen:
            seen.add(id(weight))
            count += seqlen * weight.numel()
    if isinstance(module, Mixer):
        count += module.flops(seqlen)
    for name, child in module.named_children():
        length = module.length_of(name, seqlen) if isinstance(module, Backbone) else seqlen
        count += _multiply_adds(child, length, seen)
    return count

"""Causal convolution with a filter as long as the sequence, by the fast Fourier transform."""

from seqsuite.kernels.long_conv.reference import long_conv

__all__ = ["long_conv"]

"""Short causal depthwise convolution along the sequence, the one in front of Mamba's scan."""

from seqsuite.kernels.causal_conv1d.reference import causal_conv1d

__all__ = ["causal_conv1d"]

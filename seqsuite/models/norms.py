"""The norms that models are built of."""

from torch import Tensor, nn

from seqsuite.kernels import rms_norm


class RMSNorm(nn.RMSNorm):
    """PyTorch's module by the fastest kernel: y = x / sqrt(mean(x²) + eps) · weight.

    Args:
        width: Width D of what is normalised.
        eps: Added to the mean square.
    """

    eps: float

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., D)."""
        return rms_norm(x, self.weight, self.eps)

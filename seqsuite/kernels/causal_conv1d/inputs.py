"""What the fused backends of the convolution take."""

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """The operators' inputs; weight and bias float32, or float64 where x is, initial_state in x's dtype."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    activation: bool
    initial_state: Tensor | None
    cu_seqlens: Tensor | None

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        tensors = {"x": self.x, "weight": self.weight, "bias": self.bias, "initial_state": self.initial_state}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

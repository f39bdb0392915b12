"""What the fused backends of the scan take."""

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """The arguments of ``selective_scan``, with B and C (B, L, G, N) and dtypes that the kernels can read."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool
    initial_state: Tensor | None
    cu_seqlens: Tensor | None

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        return {
            name: value
            for name, value in zip(self._fields, self, strict=True)
            if isinstance(value, Tensor) and name != "cu_seqlens"
        }

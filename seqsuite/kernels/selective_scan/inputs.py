"""What the fused backends of the scan take."""

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """The arguments of ``selective_scan``, with dtypes that the kernels can read.

    B and C are (B, L, G, N), or (B, L, N) for one group, or (D, N) where they are constant in time, which
    "triton" does not take. If A is complex, then B, C and the initial state are too.
    """

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

    @property
    def groups(self) -> int:
        """Number of groups of channels: as many as the B or C has that is not constant."""
        return next((projection.shape[2] for projection in (self.B, self.C) if projection.dim() == 4), 1)

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        return {
            name: value
            for name, value in zip(self._fields, self, strict=True)
            if isinstance(value, Tensor) and name != "cu_seqlens"
        }

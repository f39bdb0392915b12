"""What the fused backends of the scan take, and the names of what their backward gives."""

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


GRADIENT_OF = {name: f"d{name}" for name in Inputs._fields}


def with_row_stride(tensor: Tensor) -> tuple[Tensor, int]:
    """Return (B, L, ...) such that one stride leads from each of its B·L rows to the next, and the stride.

    A slice of the last dimension, such as one half of a projection, is read where it is.
    """
    if not tensor.is_contiguous():
        sizes, strides = tensor.shape, tensor.stride()
        rows_apart = sizes[0] == 1 or strides[0] == sizes[1] * strides[1]
        row_contiguous = strides[-1] == 1 and all(
            sizes[i] == 1 or strides[i] == sizes[i + 1] * strides[i + 1] for i in range(2, tensor.dim() - 1)
        )
        if not (rows_apart and row_contiguous):
            tensor = tensor.contiguous()
    return tensor, tensor.stride(1)

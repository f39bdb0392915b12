"""What the fused backends of the norm take."""

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """The operators' inputs; the weight float32, or float64 where x is, the others in x's dtype."""

    x: Tensor
    weight: Tensor
    eps: float
    gate: Tensor | None
    residual: Tensor | None


def as_rows(tensor: Tensor) -> tuple[Tensor, int]:
    """Return (..., D) as (rows, D), each row contiguous, and the stride from one to the next."""
    rows = tensor.reshape(-1, tensor.shape[-1])
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    return rows, rows.stride(0)

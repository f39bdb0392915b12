"""Views that kernels can read where they lie."""

import math

from torch import Tensor


def with_row_stride(tensor: Tensor) -> tuple[Tensor, int]:
    """Return (B, L, ...) such that one stride leads from each of its B·L rows to the next, and the stride.

    A slice of the last dimension, such as one half of a projection, is read where it is.
    """
    sizes = tensor.shape
    if not tensor.is_contiguous():
        strides = tensor.stride()
        # The stride of a dimension of size 1 means nothing.
        row_stride = strides[1] if sizes[1] > 1 else strides[0]
        rows_apart = 1 in sizes[:2] or strides[0] == sizes[1] * row_stride
        row_contiguous = strides[-1] == 1 and all(
            sizes[i] == 1 or strides[i] == sizes[i + 1] * strides[i + 1] for i in range(2, tensor.dim() - 1)
        )
        if rows_apart and row_contiguous:
            return tensor, row_stride
        tensor = tensor.contiguous()
    return tensor, math.prod(sizes[2:])

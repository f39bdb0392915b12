"""How tensors lie in memory, for kernels that read them row by row."""

from torch import Tensor


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

"""Functions of the Triton kernels: numbers with a mask, rows of tensors, the logistic function."""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + tl.exp2(-LOG2E * x))


@triton.jit
def load(tensor, offsets, exist):
    """Return numbers of a tensor, zero where they do not exist, or None where the tensor is None."""
    if tensor is None:
        numbers = None
    else:
        numbers = tl.load(tensor + offsets, mask=exist, other=0.0)
    return numbers


@triton.constexpr_function
def wide(dtype):
    """Return the type that numbers of a type are computed in."""
    return tl.float64 if dtype == tl.float64 else tl.float32


@triton.jit
def load_wide(tensor, offsets, exist, dtype: tl.constexpr):
    """Return what ``load`` does, widened."""
    numbers = load(tensor, offsets, exist)
    if numbers is not None:
        numbers = numbers.to(dtype)
    return numbers


@triton.jit
def load_row(view, row, dtype: tl.constexpr):
    """Return a row of a view, widened. A view is a tensor, its stride from row to row, columns and a mask."""
    tensor, stride, columns, exist = view
    return tl.load(tensor + row * stride + columns, mask=exist, other=0.0).to(dtype)


@triton.jit
def read_row(view, row, inside):
    """Return a row of a view as it is in memory, zero unless ``inside``.

    For rows that are read before they are needed: not widened, they take fewer registers.
    """
    tensor, stride, columns, exist = view
    return tl.load(tensor + row * stride + columns, mask=exist & inside, other=0.0)


@triton.jit
def store_row(view, row, value):
    """Store a row of a view, rounded to the tensor's dtype."""
    tensor, stride, columns, exist = view
    tl.store(tensor + row * stride + columns, value.to(tensor.dtype.element_ty), mask=exist)

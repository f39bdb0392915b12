"""The Triton kernel of the forward pass."""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import load_wide, wide
from seqsuite.kernels.rms_norm.triton_device import columns_of, normalised, read, silu_and_slope, tile_of


@triton.jit
def norm_kernel(
    x,
    weight,
    gate,
    residual,
    y,
    total,
    rows,
    x_stride: tl.constexpr,
    gate_stride: tl.constexpr,
    residual_stride: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    EPS: tl.constexpr,
):
    """Write y of the program's ROWS rows, and the sum where there is a residual.

    Args:
        x, gate, residual: (rows, D), the last two perhaps None; strides from row to row.
        weight: (D,).
        y, total: (rows, D); total is None if residual is.
    """
    dtype: tl.constexpr = wide(x.dtype.element_ty)
    column, exists = columns_of(WIDTH, BLOCK)
    w = load_wide(weight, column, exists, dtype)
    for start in range(0, ROWS, TILE):
        row, exist, mask = tile_of(start, rows, column, exists, ROWS, TILE)
        v = read(x, row, x_stride, column, mask, dtype)
        if gate is not None:
            z = read(gate, row, gate_stride, column, mask, dtype)
            v *= silu_and_slope(z)[0]
        if residual is not None:
            v += read(residual, row, residual_stride, column, mask, dtype)
        scale = normalised(v, exist, WIDTH, EPS)
        here = row * WIDTH + column
        if residual is not None:
            tl.store(total + here, v.to(total.dtype.element_ty), mask=mask)
        tl.store(y + here, (v * scale * w).to(y.dtype.element_ty), mask=mask)

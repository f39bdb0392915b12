"""The Triton kernel of the backward pass; ``cpu_kernels`` writes out the gradients.

Each program leaves its part of the weight's gradient, and a second kernel adds the parts up in a fixed order,
so that the same input gives the same bits.
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import load_wide, wide
from seqsuite.kernels.rms_norm.triton_device import columns_of, normalised, read, silu_and_slope, tile_of


@triton.jit
def gradient_kernel(
    x,
    weight,
    gate,
    residual,
    dy,
    dtotal,
    dx,
    dgate,
    parts,
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
    """Write all gradients of the program's ROWS rows.

    Args beside the inputs of the forward:
        dy, dtotal, dx, dgate: (rows, D); dtotal is None for zero, dgate if gate is.
        parts: parts of the weight's gradient, (programs, D).
    """
    dtype: tl.constexpr = wide(x.dtype.element_ty)
    column, exists = columns_of(WIDTH, BLOCK)
    w = load_wide(weight, column, exists, dtype)
    sums = tl.zeros((TILE, BLOCK), dtype)
    for start in range(0, ROWS, TILE):
        row, exist, mask = tile_of(start, rows, column, exists, ROWS, TILE)
        here = row * WIDTH + column
        v = read(x, row, x_stride, column, mask, dtype)
        if gate is not None:
            x_here = v
            opening, slope = silu_and_slope(read(gate, row, gate_stride, column, mask, dtype))
            v *= opening
        if residual is not None:
            v += read(residual, row, residual_stride, column, mask, dtype)
        scale = normalised(v, exist, WIDTH, EPS)
        dscaled = read(dy, row, WIDTH, column, mask, dtype)
        v *= scale
        sums += dscaled * v
        g = dscaled * w
        dv = scale * (g - v * (tl.sum(g * v, axis=1, keep_dims=True) / WIDTH))
        if dtotal is not None:
            dv += read(dtotal, row, WIDTH, column, mask, dtype)
        if gate is not None:
            tl.store(dgate + here, (dv * x_here * slope).to(dgate.dtype.element_ty), mask=mask)
            dv *= opening
        tl.store(dx + here, dv.to(dx.dtype.element_ty), mask=mask)
    part = tl.program_id(0).to(tl.int64) * WIDTH + column
    tl.store(parts + part, tl.sum(sums, axis=0, keep_dims=True), mask=exists)

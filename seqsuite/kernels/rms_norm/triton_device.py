"""What the Triton kernels of the norm share: how a program finds its rows, and reading them.

A program works on a run of rows, a *tile* (TILE, BLOCK) of whole rows at a time: BLOCK is D rounded up to a
power of two, and a tile has several rows where they are narrow.
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import load, sigmoid


@triton.jit
def columns_of(WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Return the columns (1, BLOCK), and which exist."""
    column = tl.arange(0, BLOCK)[None, :]
    exists = tl.full((1, BLOCK), True, tl.int1) if WIDTH == BLOCK else column < WIDTH
    return column, exists


@triton.jit
def tile_of(start, rows, column, exists, ROWS: tl.constexpr, TILE: tl.constexpr):
    """Return the rows (TILE, 1) of the tile that begins ``start`` rows into the program's run, and a mask."""
    within = start + tl.arange(0, TILE)[:, None]
    row = tl.program_id(0).to(tl.int64) * ROWS + within
    exist = (within < ROWS) & (row < rows)
    return row, exist, exist & exists


@triton.jit
def read(tensor, row, stride: tl.constexpr, column, mask, dtype: tl.constexpr):
    """Return a tile of a tensor, widened."""
    return load(tensor, row * stride + column, mask).to(dtype)


@triton.jit
def normalised(v, exist, WIDTH: tl.constexpr, EPS: tl.constexpr):
    """Return 1 / sqrt(mean(v²) + eps) of each row (TILE, 1); zero for a row that does not exist."""
    mean = tl.sum(v * v, axis=1, keep_dims=True) / WIDTH
    return tl.where(exist, 1.0 / tl.sqrt(mean + EPS), 0.0)


@triton.jit
def silu_and_slope(z):
    """Return z · sigmoid(z), and its derivative."""
    s = sigmoid(z)
    return z * s, s * (1.0 + z * (1.0 - s))

"""Adding up the parts that programs leave of what sums over rows, in an order that shapes alone decide."""

import triton
import triton.language as tl

# Parts that a program reads at once, of so many neighbouring columns, and its warps.
PARTS = 256
COLUMNS = 16
WARPS = 8


def sum_programs(rows: int, width: int) -> int:
    """Return how many programs :func:`sum_parts` takes for parts of so many rows."""
    return rows * -(-width // COLUMNS)


@triton.jit
def sum_parts(
    program,
    parts,
    count,
    matrix,
    first,
    second,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    OTHERS: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the sums of parts (count, ROWS + OTHERS, WIDTH): a program sums some columns of one row.

    Args:
        program: which of ``sum_programs``.
        matrix: the sums of the first ROWS rows, (WIDTH, ROWS).
        first, second: those of the rows after them (WIDTH,), or None.
    """
    BLOCKS: tl.constexpr = (WIDTH + COLUMNS - 1) // COLUMNS
    row = program // BLOCKS
    column = (program % BLOCKS) * COLUMNS + tl.arange(0, COLUMNS)
    exists = column < WIDTH
    index = tl.arange(0, PARTS)
    sums = tl.zeros((PARTS, COLUMNS), parts.dtype.element_ty)
    for start in range(0, count, PARTS):
        part = (start + index).to(tl.int64) * ((ROWS + OTHERS) * WIDTH)
        there = (start + index < count)[:, None] & exists[None, :]
        sums += tl.load(parts + part[:, None] + row * WIDTH + column[None, :], mask=there, other=0.0)
    total = tl.sum(sums, axis=0)
    tl.store(matrix + column * ROWS + row, total.to(matrix.dtype.element_ty), mask=exists & (row < ROWS))
    if first is not None:
        tl.store(first + column, total.to(first.dtype.element_ty), mask=exists & (row == ROWS))
    if second is not None:
        tl.store(second + column, total.to(second.dtype.element_ty), mask=exists & (row == ROWS + 1))


@triton.jit
def sum_parts_kernel(
    parts,
    count,
    matrix,
    first,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    OTHERS: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the sums of parts (count, ROWS + OTHERS, WIDTH); see ``sum_parts``."""
    sum_parts(tl.program_id(0), parts, count, matrix, first, None, ROWS, WIDTH, OTHERS, PARTS, COLUMNS)

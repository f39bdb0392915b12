"""The Triton kernel that adds up the parts of the gradients: in a fixed order, in one launch."""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_sums import sum_parts

# Numbers of dB and of dC that a program sums, and blocks of channels that it reads at once.
NUMBERS = 1024
BLOCKS_AHEAD = 4


@triton.jit
def sum_kernel(
    part_sums,
    part_dB,
    part_dC,
    dA,
    dB,
    dC,
    dD,
    ddelta_bias,
    rows,
    segments_count,
    blocks,
    projections,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    STATES: tl.constexpr,
    ROWS: tl.constexpr,
    AHEAD: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write dB and dC by the first ``projections`` programs, and by the others dA, dD and ddelta_bias.

    Args:
        part_sums: parts of the latter, (segments, N + 2, D).
        part_dB, part_dC: (blocks, G, N, rows).
        dA: (D, N); dD, ddelta_bias: (D,), or None.
        dB, dC: (rows, G, N).
    """
    program = tl.program_id(0)
    if program >= projections:
        sum_parts(
            program - projections,
            part_sums,
            segments_count,
            dA,
            dD,
            ddelta_bias,
            N,
            D_MODEL,
            2,
            PARTS,
            COLUMNS,
        )
    else:
        group = program % GROUPS
        row = tl.cast(program // GROUPS, tl.int64) * ROWS + tl.arange(0, ROWS)
        n = tl.arange(0, STATES)
        exist = (n < N)[:, None] & (row < rows)[None, :]
        there = n.to(tl.int64)[:, None] * rows + row[None, :]
        sum_B = tl.zeros((STATES, ROWS), part_dB.dtype.element_ty)
        sum_C = tl.zeros((STATES, ROWS), part_dC.dtype.element_ty)
        for block in range(0, blocks, AHEAD):
            for k in tl.static_range(AHEAD):
                part = tl.cast((block + k) * GROUPS + group, tl.int64) * N * rows
                mask = exist & (block + k < blocks)
                sum_B += tl.load(part_dB + part + there, mask=mask, other=0.0)
                sum_C += tl.load(part_dC + part + there, mask=mask, other=0.0)
        here = (row * (GROUPS * N))[None, :] + group * N + n[:, None]
        tl.store(dB + here, sum_B.to(dB.dtype.element_ty), mask=exist)
        tl.store(dC + here, sum_C.to(dC.dtype.element_ty), mask=exist)

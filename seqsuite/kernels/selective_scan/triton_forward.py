"""The Triton kernels of the forward pass.

Too few sequences and channels to fill a GPU: sequences are cut into segments that run side by side, in three
launches::

    segment_state_kernel      each segment alone: the state that it ends in when it starts from zero, and ΣΔ
    combine_kernel            the segments of a sequence in order: the state that enters each
    output_kernel             each segment from the state that enters it: y

The decay over a segment is exp(A ΣΔ). Else a segment is a whole sequence, and the last kernel does it alone.

What a warp waits for is memory: the compiler puts a load just before its numbers are needed. Hence the first
kernel reads STEPS rows at once, and the last one reads two rows ahead, so that a whole row lies between.
Which of the two pays where was found by trial, on an H100.
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import LOG2E, load_row, load_wide, read_row, sigmoid, store_row
from seqsuite.kernels.selective_scan.triton_device import (
    blocks_per_group,
    locate_channels,
    locate_parameters,
    locate_segment,
    locate_states,
    projection,
    step_size,
    turned,
)


@triton.jit
def segment_state_kernel(
    u,
    delta,
    A,
    B,
    delta_bias,
    segments,
    state,
    elapsed,
    u_stride: tl.constexpr,
    delta_stride: tl.constexpr,
    B_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Write the state (segments, N, D) after each segment that starts from zero, and ΣΔ (segments, D)."""
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    index = (tl.program_id(0) // BLOCKS).to(tl.int64)
    channel, exists, group = locate_channels(tl.program_id(0) % BLOCKS, D_MODEL, GROUPS, CHANNELS)
    offsets, exist = locate_states(channel, exists, D_MODEL, N, STATES)
    dtype: tl.constexpr = A.dtype.element_ty
    own = state + index * N * D_MODEL + offsets
    log2_decay = turned(A, locate_parameters(channel, N, STATES), exist, own) * LOG2E
    bias = load_wide(delta_bias, channel, exists, dtype)
    u, delta = (u, u_stride, channel, exists), (delta, delta_stride, channel, exists)
    B = projection(B, B_stride, group, N, STATES)
    row, length, _ = locate_segment(segments, index)
    h = tl.zeros((STATES, CHANNELS), dtype)
    total = tl.zeros((CHANNELS,), dtype)
    for _ in range(length // STEPS):
        h, total = _advance(h, total, row, u, delta, B, log2_decay, bias, SOFTPLUS, STEPS)
        row += STEPS
    for _ in range(length % STEPS):
        h, total = _advance(h, total, row, u, delta, B, log2_decay, bias, SOFTPLUS, 1)
        row += 1
    tl.debug_barrier()  # A has been read
    tl.store(own, h, mask=exist)
    tl.store(elapsed + index * D_MODEL + channel, total, mask=exists)


@triton.jit
def _advance(h, total, row, u, delta, B, log2_decay, bias, SOFTPLUS: tl.constexpr, STEPS: tl.constexpr):
    """Return the state and ΣΔ STEPS rows on."""
    for k in tl.static_range(STEPS):
        dt, _ = step_size(load_row(delta, row + k, h.dtype), bias, SOFTPLUS)
        x = dt * load_row(u, row + k, h.dtype)
        b = load_row(B, row + k, h.dtype)
        h = tl.exp2(dt[None, :] * log2_decay) * h + x[None, :] * b[:, None]
        total += dt
    return h, total


@triton.jit
def output_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    delta_bias,
    segments,
    initial_state,
    states,
    y,
    checkpoints,
    final_state,
    u_stride: tl.constexpr,
    delta_stride: tl.constexpr,
    B_stride: tl.constexpr,
    C_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    CUT: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write y (rows, D) of each segment.

    Args beside the inputs of the scan:
        initial_state: the state that enters each sequence (S, D, N), or None for zero.
        states: the program's own memory (segments, N, D): if sequences are CUT, it holds the states that
            enter segments.
        checkpoints: where the state before each CHUNK rows is kept for the backward, or None.
        final_state: where the state after each sequence is kept (S, D, N), or None.
    """
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    index = (tl.program_id(0) // BLOCKS).to(tl.int64)
    channel, exists, group = locate_channels(tl.program_id(0) % BLOCKS, D_MODEL, GROUPS, CHANNELS)
    offsets, exist = locate_states(channel, exists, D_MODEL, N, STATES)
    dtype: tl.constexpr = A.dtype.element_ty
    bias = load_wide(delta_bias, channel, exists, dtype)
    skip = load_wide(D, channel, exists, dtype)
    u, delta = (u, u_stride, channel, exists), (delta, delta_stride, channel, exists)
    z, y = (z, z_stride, channel, exists), (y, D_MODEL, channel, exists)
    B, C = projection(B, B_stride, group, N, STATES), projection(C, C_stride, group, N, STATES)
    row, length, checkpoint = locate_segment(segments, index)
    end = row + length
    parameters = locate_parameters(channel, N, STATES)
    own = states + index * N * D_MODEL + offsets
    if CUT:
        h = tl.load(own, mask=exist, other=0.0)
    elif initial_state is None:
        h = tl.zeros((STATES, CHANNELS), dtype)
    else:
        h = turned(initial_state + index * N * D_MODEL, parameters, exist, own)
    log2_decay = turned(A, parameters, exist, own) * LOG2E
    views = u, delta, B, C, z
    now, soon = _read(views, row, length > 0), _read(views, row + 1, length > 1)
    for chunk in range(tl.cdiv(length, CHUNK)):
        if checkpoints is not None:
            tl.store(checkpoints + (checkpoint + chunk) * N * D_MODEL + offsets, h, mask=exist)
        for _ in range(tl.minimum(length - chunk * CHUNK, CHUNK)):
            later = _read(views, row + 2, row + 2 < end)
            h = _output(h, row, now, y, log2_decay, bias, skip, SOFTPLUS)
            now, soon = soon, later
            row += 1
    if final_state is not None:
        tl.store(final_state + index * N * D_MODEL + parameters, h, mask=exist)


@triton.jit
def _read(views, row, inside):
    """Return a row's u, raw Δ, B, C and, if there is a gate, z."""
    u, delta, B, C, z = views
    numbers = (
        read_row(u, row, inside),
        read_row(delta, row, inside),
        read_row(B, row, inside),
        read_row(C, row, inside),
    )
    if z[0] is not None:
        numbers = numbers + (read_row(z, row, inside),)
    return numbers


@triton.jit
def _output(h, row, numbers, y, log2_decay, bias, skip, SOFTPLUS: tl.constexpr):
    """Return the state after a row whose numbers are given; write y."""
    u, raw, b, c = numbers[0], numbers[1], numbers[2], numbers[3]
    dt, _ = step_size(raw.to(h.dtype), bias, SOFTPLUS)
    u = u.to(h.dtype)
    h = tl.exp2(dt[None, :] * log2_decay) * h + (dt * u)[None, :] * b.to(h.dtype)[:, None]
    result = tl.sum(h * c.to(h.dtype)[:, None], axis=0)
    if skip is not None:
        result += skip * u
    if len(numbers) == 5:
        z = numbers[4].to(h.dtype)
        result *= z * sigmoid(z)
    store_row(y, row, result)
    return h

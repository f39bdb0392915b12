"""The Triton kernels of the backward pass; ``cpu_backward`` writes out the gradients.

The gradient of the state runs from the last row to the first. Where sequences are cut into segments, two
launches find what enters each segment from its right, as in the forward::

    segment_adjoint_kernel    each segment alone: a dh at its first row when nothing enters it, and ΣΔ
    combine_kernel            the segments of a sequence from the last to the first

Then ``gradient_kernel`` runs through a segment's chunks from the last to the first. It recomputes a chunk's
states from the checkpoint before it, keeping those before every STEPS rows, and goes back through it STEPS
rows at a time, one state n at a time: each thread holds STEPS decays and states of its channels in registers.
Its programs take segments in turn: what they keep is bounded by the number of programs and not by L.

No two programs add to the same number: dB and dC of each block of channels, and dA, dD and ddelta_bias of
each segment, are parts to be summed afterwards, so that the same input gives the same bits.
"""

import triton
import triton.language as tl

from seqsuite.kernels.selective_scan.triton_device import (
    LOG2E,
    blocks_per_group,
    channel_sums,
    load_bias,
    load_projection,
    load_row,
    locate_channels,
    locate_segment,
    locate_states,
    sigmoid,
    step_size,
    store_row,
)


@triton.jit
def segment_adjoint_kernel(
    delta,
    A,
    C,
    z,
    delta_bias,
    dy,
    segments,
    adjoint,
    elapsed,
    delta_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Write a dh (segments, N, D) at the first row of segments that nothing enters, and ΣΔ (segments, D)."""
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    index = (tl.program_id(0) // BLOCKS).to(tl.int64)
    channel, exists, group = locate_channels(tl.program_id(0) % BLOCKS, D_MODEL, GROUPS, CHANNELS)
    offsets, exist = locate_states(channel, exists, D_MODEL, N, STATES)
    log2_decay = tl.load(A + offsets, mask=exist, other=0.0) * LOG2E
    bias = load_bias(delta_bias, channel, exists)
    C += group * N
    first, length, _ = locate_segment(segments, index)
    row = first + length
    carry = tl.zeros((STATES, CHANNELS), A.dtype.element_ty)
    total = tl.zeros((CHANNELS,), A.dtype.element_ty)
    for _ in range(length // STEPS):
        row -= STEPS
        carry, total = _retreat(
            carry, total, row, delta, C, z, dy, delta_stride, GROUPS * N, z_stride, D_MODEL,
            channel, exists, log2_decay, bias, N, STATES, SOFTPLUS, STEPS,
        )  # fmt: skip
    for _ in range(length % STEPS):
        row -= 1
        carry, total = _retreat(
            carry, total, row, delta, C, z, dy, delta_stride, GROUPS * N, z_stride, D_MODEL,
            channel, exists, log2_decay, bias, N, STATES, SOFTPLUS, 1,
        )  # fmt: skip
    tl.store(adjoint + index * N * D_MODEL + offsets, carry, mask=exist)
    tl.store(elapsed + index * D_MODEL + channel, total, mask=exists)


@triton.jit
def _retreat(
    carry,
    total,
    row,
    delta,
    C,
    z,
    dy,
    delta_stride: tl.constexpr,
    C_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    channel,
    exists,
    log2_decay,
    bias,
    N: tl.constexpr,
    STATES: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STEPS: tl.constexpr,
):
    for k in tl.static_range(STEPS - 1, -1, -1):
        dt, _ = step_size(
            load_row(delta, row + k, delta_stride, channel, exists, carry.dtype), bias, SOFTPLUS
        )
        g = load_row(dy, row + k, D_MODEL, channel, exists, carry.dtype)
        if z is not None:
            z_k = load_row(z, row + k, z_stride, channel, exists, carry.dtype)
            g *= z_k * sigmoid(z_k)
        c = load_projection(C, row + k, C_stride, N, STATES)
        carry = tl.exp2(dt[None, :] * log2_decay) * (g[None, :] * c[:, None] + carry)
        total += dt
    return carry, total


@triton.jit
def gradient_kernel(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    delta_bias,
    dy,
    segments,
    checkpoints,
    entering,
    scratch,
    du,
    ddelta,
    dA,
    dB,
    dC,
    dD,
    dz,
    ddelta_bias,
    dinitial_state,
    rows,
    items,
    u_stride: tl.constexpr,
    delta_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    READ: tl.constexpr,
    STEPS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write all gradients.

    Args beside the inputs of the scan and their gradients:
        dy: (rows, D).
        checkpoints: the states before each chunk (…, N, D).
        entering: the gradient that enters each segment from its right (segments, N, D), or None for zero.
        scratch: (programs, 2 + states kept of a chunk, N, CHANNELS): a dh, dA of a chunk, the states.
        dA: (segments, N, D), zero at first; dD, ddelta_bias: (segments, D).
        dB, dC: (blocks_per_group, G, N, rows).
        dinitial_state: where the gradient that leaves each segment is kept, (segments, N, D), or None.
        items: number of segments times blocks.
    """
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    lane = tl.max_contiguous(tl.arange(0, CHANNELS), 2)
    local, held = locate_states(lane, tl.full((CHANNELS,), True, tl.int1), CHANNELS, N, STATES)
    KEPT: tl.constexpr = 2 + CHUNK // STEPS + STEPS - 1
    carried = scratch + tl.program_id(0).to(tl.int64) * (KEPT * N * CHANNELS)
    chunk_dA = carried + N * CHANNELS
    kept = chunk_dA + N * CHANNELS
    zero = tl.zeros((STATES, CHANNELS), A.dtype.element_ty)

    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        index = tl.cast(item // BLOCKS, tl.int64)
        block = item % BLOCKS
        channel, exists, group = locate_channels(block, D_MODEL, GROUPS, CHANNELS)
        offsets, exist = locate_states(channel, exists, D_MODEL, N, STATES)
        bias = load_bias(delta_bias, channel, exists)
        skip = load_bias(D, channel, exists)
        first, length, checkpoint = locate_segment(segments, index)
        group_B, group_C = B + group * N, C + group * N
        part = tl.cast(((block % (BLOCKS // GROUPS)) * GROUPS + group) * N, tl.int64) * rows
        if entering is None:
            tl.store(carried + local, zero, mask=held)
        else:
            carry = tl.load(entering + index * N * D_MODEL + offsets, mask=exist, other=0.0)
            tl.store(carried + local, carry, mask=held)
        sum_D = tl.zeros((CHANNELS,), A.dtype.element_ty)
        sum_bias = tl.zeros((CHANNELS,), A.dtype.element_ty)
        chunks = tl.cdiv(length, CHUNK)
        for i in range(chunks):
            chunk = chunks - 1 - i
            row = first + chunk * CHUNK
            remaining = tl.minimum(length - chunk * CHUNK, CHUNK)
            tiles, rest = remaining // STEPS, remaining % STEPS
            tl.store(chunk_dA + local, zero, mask=held)

            log2_decay = tl.load(A + offsets, mask=exist, other=0.0) * LOG2E
            here = checkpoints + (checkpoint + chunk) * N * D_MODEL + offsets
            h = tl.load(here, mask=exist, other=0.0)
            for tile in range(tiles):
                tl.store(kept + tile * (N * CHANNELS) + local, h, mask=held)
                for _read in range(STEPS // READ):
                    h = _recompute(
                        h, row, u, delta, group_B, group_C, z, dy, dz, u_stride, delta_stride, GROUPS * N,
                        z_stride, D_MODEL, channel, exists, log2_decay, bias, skip, N, STATES, SOFTPLUS, READ,
                    )  # fmt: skip
                    row += READ
            for single in range(rest):
                tl.store(kept + (tiles + single) * (N * CHANNELS) + local, h, mask=held)
                h = _recompute(
                    h, row, u, delta, group_B, group_C, z, dy, dz, u_stride, delta_stride, GROUPS * N,
                    z_stride, D_MODEL, channel, exists, log2_decay, bias, skip, N, STATES, SOFTPLUS, 1,
                )  # fmt: skip
                row += 1
            tl.debug_barrier()  # other threads read what was kept

            chunk_D = tl.zeros((CHANNELS,), A.dtype.element_ty)
            chunk_bias = tl.zeros((CHANNELS,), A.dtype.element_ty)
            for i in range(rest):
                row -= 1
                at = kept + (tiles + rest - 1 - i) * (N * CHANNELS)
                chunk_D, chunk_bias = _go_back(
                    chunk_D, chunk_bias, row, at, carried, chunk_dA, lane, u, delta, A, group_B,
                    group_C, z, dy, du, ddelta, dB + part, dC + part, u_stride, delta_stride, GROUPS * N,
                    z_stride, D_MODEL, rows, channel, exists, bias, skip, N, CHANNELS, SOFTPLUS, 1,
                )  # fmt: skip
            for i in range(tiles):
                row -= STEPS
                at = kept + (tiles - 1 - i) * (N * CHANNELS)
                chunk_D, chunk_bias = _go_back(
                    chunk_D, chunk_bias, row, at, carried, chunk_dA, lane, u, delta, A, group_B,
                    group_C, z, dy, du, ddelta, dB + part, dC + part, u_stride, delta_stride, GROUPS * N,
                    z_stride, D_MODEL, rows, channel, exists, bias, skip, N, CHANNELS, SOFTPLUS, STEPS,
                )  # fmt: skip
            # Summed by chunks: over a long segment, adding each small term to the whole would lose digits.
            sum_D += chunk_D
            sum_bias += chunk_bias
            total = dA + index * N * D_MODEL + offsets
            term = tl.load(chunk_dA + local, mask=held, other=0.0)
            tl.store(total, tl.load(total, mask=exist, other=0.0) + term, mask=exist)
            tl.debug_barrier()  # the next chunk writes where others have read
        if dD is not None:
            tl.store(dD + index * D_MODEL + channel, sum_D, mask=exists)
        if ddelta_bias is not None:
            tl.store(ddelta_bias + index * D_MODEL + channel, sum_bias, mask=exists)
        if dinitial_state is not None:
            carry = tl.load(carried + local, mask=held, other=0.0)
            tl.store(dinitial_state + index * N * D_MODEL + offsets, carry, mask=exist)
        tl.debug_barrier()


@triton.jit
def _recompute(
    h,
    row,
    u,
    delta,
    B,
    C,
    z,
    dy,
    dz,
    u_stride: tl.constexpr,
    delta_stride: tl.constexpr,
    B_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    channel,
    exists,
    log2_decay,
    bias,
    skip,
    N: tl.constexpr,
    STATES: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Return the state STEPS rows on; write dz, which needs y before the gate."""
    gradients = ()
    for k in tl.static_range(STEPS):
        dt, _ = step_size(load_row(delta, row + k, delta_stride, channel, exists, h.dtype), bias, SOFTPLUS)
        u_k = load_row(u, row + k, u_stride, channel, exists, h.dtype)
        b = load_projection(B, row + k, B_stride, N, STATES)
        h = tl.exp2(dt[None, :] * log2_decay) * h + (dt * u_k)[None, :] * b[:, None]
        if z is not None:
            y = tl.sum(h * load_projection(C, row + k, B_stride, N, STATES)[:, None], axis=0)
            if skip is not None:
                y += skip * u_k
            z_k = load_row(z, row + k, z_stride, channel, exists, h.dtype)
            s = sigmoid(z_k)
            dy_k = load_row(dy, row + k, D_MODEL, channel, exists, h.dtype)
            gradients = gradients + (dy_k * y * s * (1.0 + z_k * (1.0 - s)),)
    if z is not None:
        for k in tl.static_range(STEPS):
            store_row(dz, row + k, D_MODEL, channel, exists, gradients[k])
    return h


@triton.jit
def _go_back(
    chunk_D,
    chunk_bias,
    row,
    kept,
    carried,
    chunk_dA,
    lane,
    u,
    delta,
    A,
    B,
    C,
    z,
    dy,
    du,
    ddelta,
    dB,
    dC,
    u_stride: tl.constexpr,
    delta_stride: tl.constexpr,
    B_stride: tl.constexpr,
    z_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    rows,
    channel,
    exists,
    bias,
    skip,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Go back STEPS rows from the state kept before them; write du, ddelta, and parts of dB and dC."""
    dtype: tl.constexpr = A.dtype.element_ty
    dts, xs, gs, dx, dlog = (), (), (), (), ()
    for k in tl.static_range(STEPS):
        dt, _ = step_size(load_row(delta, row + k, delta_stride, channel, exists, dtype), bias, SOFTPLUS)
        g = load_row(dy, row + k, D_MODEL, channel, exists, dtype)
        if z is not None:
            z_k = load_row(z, row + k, z_stride, channel, exists, dtype)
            g *= z_k * sigmoid(z_k)
        dts = dts + (dt,)
        xs = xs + (dt * load_row(u, row + k, u_stride, channel, exists, dtype),)
        gs = gs + (g,)
        dx = dx + (tl.zeros((CHANNELS,), dtype),)
        dlog = dlog + (tl.zeros((CHANNELS,), dtype),)

    position = row + tl.arange(0, STEPS)
    for n in range(N):
        a_n = tl.load(A + n * D_MODEL + channel, mask=exists, other=0.0)
        log2_decay = a_n * LOG2E
        h = tl.load(kept + n * CHANNELS + lane)
        carry = tl.load(carried + n * CHANNELS + lane)
        decays, decayed, terms_C, terms_B = (), (), (), ()
        for k in tl.static_range(STEPS):
            decays = decays + (tl.exp2(dts[k] * log2_decay),)
            decayed = decayed + (decays[k] * h,)
            h = decayed[k] + xs[k] * tl.load(B + (row + k) * B_stride + n)
            terms_C = terms_C + (gs[k] * h,)
        sum_A = tl.zeros((CHANNELS,), dtype)
        new_dx, new_dlog = (), ()
        for k in tl.static_range(STEPS - 1, -1, -1):
            dh = carry + gs[k] * tl.load(C + (row + k) * B_stride + n)
            carry = decays[k] * dh
            w = dh * decayed[k]
            sum_A += w * dts[k]
            terms_B = (dh * xs[k],) + terms_B
            new_dx = (dx[k] + dh * tl.load(B + (row + k) * B_stride + n),) + new_dx
            new_dlog = (dlog[k] + w * a_n,) + new_dlog
        dx, dlog = new_dx, new_dlog
        tl.store(carried + n * CHANNELS + lane, carry)
        tl.store(chunk_dA + n * CHANNELS + lane, tl.load(chunk_dA + n * CHANNELS + lane) + sum_A)
        tl.store(dB + position, channel_sums(terms_B, STEPS, CHANNELS))
        tl.store(dC + position, channel_sums(terms_C, STEPS, CHANNELS))
        position += rows

    for k in tl.static_range(STEPS):
        raw = load_row(delta, row + k, delta_stride, channel, exists, dtype)
        u_k = load_row(u, row + k, u_stride, channel, exists, dtype)
        _, slope = step_size(raw, bias, SOFTPLUS)
        du_k = dts[k] * dx[k]
        if skip is not None:
            du_k += skip * gs[k]
            chunk_D += gs[k] * u_k
        ddelta_k = (u_k * dx[k] + dlog[k]) * slope
        chunk_bias += ddelta_k
        store_row(du, row + k, D_MODEL, channel, exists, du_k)
        store_row(ddelta, row + k, D_MODEL, channel, exists, ddelta_k)
    tl.debug_barrier()  # other threads read what is carried
    return chunk_D, chunk_bias

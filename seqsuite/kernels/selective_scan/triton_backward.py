"""The Triton kernels of the backward pass; ``cpu_backward`` writes out the gradients.

The gradient of the state runs from the last row to the first. Where sequences are cut into segments, two
launches find what enters each segment from its right, as in the forward::

    segment_adjoint_kernel    each segment alone: a dh at its first row when nothing enters it, and ΣΔ
    combine_kernel            the segments of a sequence from the last to the first

Then ``gradient_kernel`` runs through a segment's chunks from the last to the first. It recomputes a chunk's
states from the checkpoint before it, keeping those before every STEPS rows, and goes back through it STEPS
rows at a time, TOGETHER states n at a time: while one waits for memory or for shuffles, the other goes on.
A thread holds STEPS decays and states of its channels in registers. Programs take segments in turn: what
they keep is bounded by the number of programs and not by L.

No two programs add to the same number: dB and dC of each block of channels, and dA, dD and ddelta_bias of
each segment, are parts, which ``sum_kernel`` adds up in a fixed order: the same input gives the same bits.
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import LOG2E, load, load_row, load_wide, sigmoid, store_row
from seqsuite.kernels.selective_scan.triton_device import (
    blocks_per_group,
    channel_sums,
    locate_channels,
    locate_parameters,
    locate_segment,
    locate_states,
    projection,
    step_size,
    turned,
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
    C_stride: tl.constexpr,
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
    dtype: tl.constexpr = A.dtype.element_ty
    own = adjoint + index * N * D_MODEL + offsets
    log2_decay = turned(A, locate_parameters(channel, N, STATES), exist, own) * LOG2E
    bias = load_wide(delta_bias, channel, exists, dtype)
    delta, z = (delta, delta_stride, channel, exists), (z, z_stride, channel, exists)
    dy = (dy, D_MODEL, channel, exists)
    C = projection(C, C_stride, group, N, STATES)
    first, length, _ = locate_segment(segments, index)
    row = first + length
    carry = tl.zeros((STATES, CHANNELS), dtype)
    total = tl.zeros((CHANNELS,), dtype)
    for _ in range(length // STEPS):
        row -= STEPS
        carry, total = _retreat(carry, total, row, delta, C, z, dy, log2_decay, bias, SOFTPLUS, STEPS)
    for _ in range(length % STEPS):
        row -= 1
        carry, total = _retreat(carry, total, row, delta, C, z, dy, log2_decay, bias, SOFTPLUS, 1)
    tl.debug_barrier()  # A has been read
    tl.store(own, carry, mask=exist)
    tl.store(elapsed + index * D_MODEL + channel, total, mask=exists)


@triton.jit
def _retreat(
    carry, total, row, delta, C, z, dy, log2_decay, bias, SOFTPLUS: tl.constexpr, STEPS: tl.constexpr
):
    """Return a dh at the first of STEPS rows, and ΣΔ, from what enters them."""
    for k in tl.static_range(STEPS - 1, -1, -1):
        dt, _ = step_size(load_row(delta, row + k, carry.dtype), bias, SOFTPLUS)
        g = _ungated(dy, z, row + k, carry.dtype)
        c = load_row(C, row + k, carry.dtype)
        carry = tl.exp2(dt[None, :] * log2_decay) * (g[None, :] * c[:, None] + carry)
        total += dt
    return carry, total


@triton.jit
def _ungated(dy, z, row, dtype: tl.constexpr):
    """Return the gradient of y before the gate."""
    g = load_row(dy, row, dtype)
    if z[0] is not None:
        z_k = load_row(z, row, dtype)
        g *= z_k * sigmoid(z_k)
    return g


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
    dz,
    part_sums,
    part_dB,
    part_dC,
    dinitial_state,
    rows,
    items,
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
    READ: tl.constexpr,
    TOGETHER: tl.constexpr,
    STEPS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Write all gradients.

    Args beside the inputs of the scan and their gradients:
        dy: (rows, D).
        checkpoints: the states before each chunk (…, N, D).
        entering: the gradient that enters each segment from its right, or None for zero: (segments, N, D) if
            sequences are CUT, else (S, D, N).
        scratch: (programs, 3 + states kept of a chunk, N, CHANNELS): a dh, dA of a chunk, A, the states.
        part_sums: parts of dA, dD and ddelta_bias, (segments, N + 2, D).
        part_dB, part_dC: (blocks_per_group, G, N, rows).
        dinitial_state: where the gradient that leaves each sequence is kept, (S, D, N), or None.
        items: number of segments times blocks.
    """
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    KEPT: tl.constexpr = 3 + CHUNK // STEPS + STEPS - 1
    dtype: tl.constexpr = A.dtype.element_ty
    everywhere = tl.full((CHANNELS,), True, tl.int1)
    lane = tl.max_contiguous(tl.arange(0, CHANNELS), 2)
    local, held = locate_states(lane, everywhere, CHANNELS, N, STATES)
    carried = scratch + tl.program_id(0).to(tl.int64) * (KEPT * N * CHANNELS)
    chunk_dA = carried + N * CHANNELS
    own_A = chunk_dA + N * CHANNELS
    kept = own_A + N * CHANNELS
    own = (carried, CHANNELS, lane, everywhere), (chunk_dA, CHANNELS, lane, everywhere)
    zero = tl.zeros((STATES, CHANNELS), dtype)

    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        index = tl.cast(item // BLOCKS, tl.int64)
        block = item % BLOCKS
        channel, exists, group = locate_channels(block, D_MODEL, GROUPS, CHANNELS)
        offsets, exist = locate_states(channel, exists, D_MODEL, N, STATES)
        bias = load_wide(delta_bias, channel, exists, dtype)
        skip = load_wide(D, channel, exists, dtype)
        inputs = (
            (u, u_stride, channel, exists),
            (delta, delta_stride, channel, exists),
            projection(B, B_stride, group, N, STATES),
            projection(C, C_stride, group, N, STATES),
            (z, z_stride, channel, exists),
            (dy, D_MODEL, channel, exists),
        )
        part = tl.cast((block % (BLOCKS // GROUPS)) * GROUPS + group, tl.int64) * N * rows
        outputs = (
            (du, D_MODEL, channel, exists),
            (ddelta, D_MODEL, channel, exists),
            part_dB + part,
            part_dC + part,
        )
        sums = part_sums + index * (N + 2) * D_MODEL
        sum_A = sums + offsets
        first, length, checkpoint = locate_segment(segments, index)
        parameters = locate_parameters(channel, N, STATES)
        tl.store(own_A + local, load(A, parameters, exist), mask=held)
        if entering is None:
            tl.store(carried + local, zero, mask=held)
        elif CUT:
            tl.store(carried + local, load(entering, index * N * D_MODEL + offsets, exist), mask=held)
        else:
            tl.store(carried + local, load(entering, index * N * D_MODEL + parameters, exist), mask=held)
        tl.debug_barrier()
        tl.store(sum_A, zero, mask=exist)
        sum_D, sum_bias = tl.zeros((CHANNELS,), dtype), tl.zeros((CHANNELS,), dtype)
        chunks = tl.cdiv(length, CHUNK)
        for i in range(chunks):
            chunk = chunks - 1 - i
            row = first + chunk * CHUNK
            remaining = tl.minimum(length - chunk * CHUNK, CHUNK)
            tiles, rest = remaining // STEPS, remaining % STEPS
            tl.store(chunk_dA + local, zero, mask=held)

            log2_decay = load(own_A, local, held) * LOG2E
            h = load(checkpoints, (checkpoint + chunk) * N * D_MODEL + offsets, exist)
            dz_rows = (dz, D_MODEL, channel, exists)
            for tile in range(tiles):
                tl.store(kept + tile * (N * CHANNELS) + local, h, mask=held)
                for read in range(STEPS // READ):
                    here = row + tile * STEPS + read * READ
                    h = _recompute(h, here, inputs, dz_rows, log2_decay, bias, skip, SOFTPLUS, READ)
            for single in range(rest):
                tl.store(kept + (tiles + single) * (N * CHANNELS) + local, h, mask=held)
                here = row + tiles * STEPS + single
                h = _recompute(h, here, inputs, dz_rows, log2_decay, bias, skip, SOFTPLUS, 1)
            tl.debug_barrier()  # other threads read what was kept

            views = own, (own_A, CHANNELS, lane, everywhere), inputs, outputs
            chunk_sums = tl.zeros((CHANNELS,), dtype), tl.zeros((CHANNELS,), dtype)
            for i in range(rest):
                single = rest - 1 - i
                before = (kept + (tiles + single) * (N * CHANNELS), CHANNELS, lane, everywhere)
                here = row + tiles * STEPS + single
                chunk_sums = _go_back(
                    chunk_sums, here, before, views, rows, bias, skip, N, SOFTPLUS, TOGETHER, 1
                )
            for i in range(tiles):
                tile = tiles - 1 - i
                before = (kept + tile * (N * CHANNELS), CHANNELS, lane, everywhere)
                here = row + tile * STEPS
                chunk_sums = _go_back(
                    chunk_sums, here, before, views, rows, bias, skip, N, SOFTPLUS, TOGETHER, STEPS
                )
            # Summed by chunks: over a long segment, adding each small term to the whole would lose digits.
            sum_D += chunk_sums[0]
            sum_bias += chunk_sums[1]
            tl.store(sum_A, load(sum_A, 0, exist) + load(chunk_dA, local, held), mask=exist)
            tl.debug_barrier()  # the next chunk writes where others have read
        if D is not None:
            tl.store(sums + N * D_MODEL + channel, sum_D, mask=exists)
        if delta_bias is not None:
            tl.store(sums + (N + 1) * D_MODEL + channel, sum_bias, mask=exists)
        if dinitial_state is not None:
            leaves = dinitial_state + index * N * D_MODEL + parameters
            tl.store(leaves, load(carried, local, held), mask=exist)


@triton.jit
def _recompute(h, row, inputs, dz, log2_decay, bias, skip, SOFTPLUS: tl.constexpr, STEPS: tl.constexpr):
    """Return the state STEPS rows on; write dz, which needs y before the gate."""
    u, delta, B, C, z, dy = inputs
    gradients = ()
    for k in tl.static_range(STEPS):
        dt, _ = step_size(load_row(delta, row + k, h.dtype), bias, SOFTPLUS)
        u_k = load_row(u, row + k, h.dtype)
        b = load_row(B, row + k, h.dtype)
        h = tl.exp2(dt[None, :] * log2_decay) * h + (dt * u_k)[None, :] * b[:, None]
        if z[0] is not None:
            y = tl.sum(h * load_row(C, row + k, h.dtype)[:, None], axis=0)
            if skip is not None:
                y += skip * u_k
            z_k = load_row(z, row + k, h.dtype)
            s = sigmoid(z_k)
            gradients = gradients + (load_row(dy, row + k, h.dtype) * y * s * (1.0 + z_k * (1.0 - s)),)
    if z[0] is not None:
        for k in tl.static_range(STEPS):
            store_row(dz, row + k, gradients[k])
    return h


@triton.jit
def _go_back(
    sums,
    row,
    before,
    views,
    rows,
    bias,
    skip,
    N: tl.constexpr,
    SOFTPLUS: tl.constexpr,
    TOGETHER: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Go back STEPS rows from the state before them; write du, ddelta and parts of dB and dC.

    Args:
        sums: dD and ddelta_bias of the rows of this chunk after these.
        before: the state before these rows.
        views: what the program carries between tiles (a dh, and dA of the chunk), A, inputs, and outputs.
    """
    own, A, inputs, outputs = views
    u, delta, B, C, z, dy = inputs
    du, ddelta, dB, dC = outputs
    carried, chunk_dA = own
    sum_D, sum_bias = sums
    dtype: tl.constexpr = sum_D.dtype
    zero = tl.zeros_like(sum_D)
    dts, xs, gs, dx, dlog = (), (), (), (), ()
    for k in tl.static_range(STEPS):
        dt, _ = step_size(load_row(delta, row + k, dtype), bias, SOFTPLUS)
        dts = dts + (dt,)
        xs = xs + (dt * load_row(u, row + k, dtype),)
        gs = gs + (_ungated(dy, z, row + k, dtype),)
        dx = dx + (zero,)
        dlog = dlog + (zero,)

    position = row + tl.arange(0, STEPS)
    for n in range(0, N, TOGETHER):
        states = ()
        for i in tl.static_range(TOGETHER):
            states = states + (
                (load_row(A, n + i, dtype), load_row(before, n + i, dtype), load_row(carried, n + i, dtype)),
            )
        found = ()
        for i in tl.static_range(TOGETHER):
            a, h, carry = states[i]
            decays, decayed, terms_C, terms_B = (), (), (), ()
            for k in tl.static_range(STEPS):
                decays = decays + (tl.exp2(dts[k] * (a * LOG2E)),)
                decayed = decayed + (decays[k] * h,)
                h = decayed[k] + xs[k] * _load_one(B, row + k, n + i, dtype)
                terms_C = terms_C + (gs[k] * h,)
            sum_A = zero
            new_dx, new_dlog = (), ()
            for k in tl.static_range(STEPS - 1, -1, -1):
                dh = carry + gs[k] * _load_one(C, row + k, n + i, dtype)
                carry = decays[k] * dh
                w = dh * decayed[k]
                sum_A += w * dts[k]
                terms_B = (dh * xs[k],) + terms_B
                new_dx = (dx[k] + dh * _load_one(B, row + k, n + i, dtype),) + new_dx
                new_dlog = (dlog[k] + w * a,) + new_dlog
            dx, dlog = new_dx, new_dlog
            found = found + ((carry, sum_A, channel_sums(terms_B, STEPS), channel_sums(terms_C, STEPS)),)
        for i in tl.static_range(TOGETHER):
            carry, sum_A, sums_B, sums_C = found[i]
            store_row(carried, n + i, carry)
            store_row(chunk_dA, n + i, load_row(chunk_dA, n + i, dtype) + sum_A)
            tl.store(dB + position, sums_B)
            tl.store(dC + position, sums_C)
            position += rows

    for k in tl.static_range(STEPS):
        _, slope = step_size(load_row(delta, row + k, dtype), bias, SOFTPLUS)
        u_k = load_row(u, row + k, dtype)
        du_k = dts[k] * dx[k]
        if skip is not None:
            du_k += skip * gs[k]
            sum_D += gs[k] * u_k
        ddelta_k = (u_k * dx[k] + dlog[k]) * slope
        sum_bias += ddelta_k
        store_row(du, row + k, du_k)
        store_row(ddelta, row + k, ddelta_k)
    tl.debug_barrier()  # other threads read what is carried
    return sum_D, sum_bias


@triton.jit
def _load_one(view, row, column, dtype: tl.constexpr):
    """Return one number of a view, widened."""
    tensor, stride, _, _ = view
    return tl.load(tensor + row * stride + column).to(dtype)

"""What the Triton kernels of the scan share: functions, and how a program finds its rows and channels.

One program is one warp. It works on a *block* of channels of one group and on a *segment* of rows, which are
positions of the flattened (B·L). Each thread holds two channels with all their states, so that neither the
recurrence nor the sum over states needs another thread; only dB and dC sum over channels.

States are (N, D) in the kernels' own memory, so that a warp reads neighbours; those of the caller are (D, N).
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import LOG2E, load

# log(1 + e) = e (1 + e p(e)) for 0 <= e <= 1: p of degree 8 by weighted least squares, from its highest term
# down, with a relative error below 1e-8 before rounding. tl.log(1 + e) would lose the digits of a small e.
LOG1P = tl.constexpr(
    (
        -0.003318468574434519,
        0.020204568281769753,
        -0.0576644130051136,
        0.10680552572011948,
        -0.15355394780635834,
        0.19695399701595306,
        -0.24958586692810059,
        0.33330512046813965,
        -0.4999993145465851,
    )
)


@triton.jit
def softplus_and_slope(x):
    """Return log(1 + exp(x)) and its derivative, both to a relative error of about (1 + |x|) roundings."""
    e = tl.exp2(-LOG2E * tl.abs(x))
    if x.dtype == tl.float64:
        w = 1.0 + e
        exact = w == 1.0
        log1p = tl.where(exact, e, tl.log(w) * (e / tl.where(exact, 1.0, w - 1.0)))
    else:
        p = tl.full(e.shape, LOG1P[0], e.dtype)
        for i in tl.static_range(1, 9):
            p = p * e + LOG1P[i]
        log1p = e * (1.0 + e * p)
    return tl.maximum(x, 0.0) + log1p, tl.where(x >= 0.0, 1.0, e) / (1.0 + e)


@triton.jit
def step_size(raw, bias, SOFTPLUS: tl.constexpr):
    """Return Δ from the raw step size, and dΔ/draw."""
    if bias is not None:
        raw += bias
    if SOFTPLUS:
        delta, slope = softplus_and_slope(raw)
    else:
        delta, slope = raw, 1.0
    return delta, slope


@triton.jit
def locate_segment(segments, index):
    """Return a segment's first row, its number of rows and the index of its first checkpoint."""
    entry = segments + index * 3
    return tl.load(entry), tl.load(entry + 1).to(tl.int32), tl.load(entry + 2)


@triton.constexpr_function
def blocks_per_group(d_model: int, groups: int, channels: int) -> int:
    """Return the number of blocks of channels in a group, the last perhaps not full."""
    return -(-d_model // groups // channels)


@triton.jit
def locate_channels(block, D_MODEL: tl.constexpr, GROUPS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return a block's channels, whether each exists, and its group.

    The hint keeps every load to two neighbours a thread. Else each would be as wide as the hardware has them,
    and which channels a thread has would differ from tensor to tensor, with shuffles between.
    """
    WIDTH: tl.constexpr = D_MODEL // GROUPS
    BLOCKS: tl.constexpr = blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    group = block // BLOCKS
    within = (block % BLOCKS) * CHANNELS + tl.arange(0, CHANNELS)
    exists = tl.full((CHANNELS,), True, tl.int1) if WIDTH % CHANNELS == 0 else within < WIDTH
    return tl.max_contiguous(group * WIDTH + within, 2), exists, group


@triton.jit
def locate_states(channel, exists, D_MODEL: tl.constexpr, N: tl.constexpr, STATES: tl.constexpr):
    """Return where a block's states are in (N, D), and which exist: N is rounded up to a power of two."""
    n = tl.arange(0, STATES)
    exist = exists[None, :] if N == STATES else (n < N)[:, None] & exists[None, :]
    return n[:, None] * D_MODEL + channel[None, :], exist


@triton.jit
def locate_parameters(channel, N: tl.constexpr, STATES: tl.constexpr):
    """Return where a block's states are in (D, N)."""
    return channel[None, :] * N + tl.arange(0, STATES)[:, None]


@triton.jit
def turned(tensor, parameters, exist, own):
    """Return a block's states of a tensor (D, N), passed through memory (N, D) of the program's own.

    A thread that reads neighbours gets states of one channel; all that follows would be laid out like that.
    """
    tl.debug_barrier()  # what was there has been read
    tl.store(own, tl.load(tensor + parameters, mask=exist, other=0.0), mask=exist)
    tl.debug_barrier()  # other threads read what was stored
    return tl.load(own, mask=exist, other=0.0)


@triton.jit
def projection(tensor, stride: tl.constexpr, group, N: tl.constexpr, STATES: tl.constexpr):
    """Return the view of a group's states in B or C (rows, G, N)."""
    n = tl.arange(0, STATES)
    return tensor + group * N, stride, n, n < N


@triton.jit
def combine_kernel(
    A,
    segment_offsets,
    initial,
    state,
    elapsed,
    final,
    D_MODEL: tl.constexpr,
    GROUPS: tl.constexpr,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
    REVERSE: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """Chain the segments of a sequence: replace what each leaves on its own by what enters it.

    A program treats one state of a block of channels, and reads AHEAD segments at once: it waits for memory
    far longer than it computes.

    Args:
        A: (D, N).
        segment_offsets: first segment of each sequence, (S + 1,).
        initial: what enters the sequence (S, D, N), or None for zero.
        state: (segments, N, D), in place.
        elapsed: ΣΔ of each segment (segments, D).
        final: where what leaves the sequence is kept (S, D, N), or None.
        REVERSE: whether a sequence is entered at its end, as gradients do.
    """
    BLOCKS: tl.constexpr = GROUPS * blocks_per_group(D_MODEL, GROUPS, CHANNELS)
    n = tl.program_id(0) % N
    block = tl.program_id(0) // N % BLOCKS
    sequence = (tl.program_id(0) // (N * BLOCKS)).to(tl.int64)
    channel, exists, _ = locate_channels(block, D_MODEL, GROUPS, CHANNELS)
    offsets, parameters = n * D_MODEL + channel, channel * N + n
    log2_decay = load(A, parameters, exists) * LOG2E
    h = load(initial, sequence * N * D_MODEL + parameters, exists)
    if h is None:
        h = tl.zeros((CHANNELS,), A.dtype.element_ty)
    first, last = tl.load(segment_offsets + sequence), tl.load(segment_offsets + sequence + 1)
    for i in range(0, last - first, AHEAD):
        totals, alone = (), ()
        for k in tl.static_range(AHEAD):
            segment = last - 1 - i - k if REVERSE else first + i + k
            here = exists & (i + k < last - first)
            totals = totals + (load(elapsed, segment * D_MODEL + channel, here),)
            alone = alone + (load(state, segment * N * D_MODEL + offsets, here),)
        for k in tl.static_range(AHEAD):
            segment = last - 1 - i - k if REVERSE else first + i + k
            here = exists & (i + k < last - first)
            tl.store(state + segment * N * D_MODEL + offsets, h, mask=here)
            h = tl.exp2(totals[k] * log2_decay) * h + alone[k]
    if final is not None:
        tl.store(final + sequence * N * D_MODEL + parameters, h, mask=exists)


@triton.jit
def channel_sums(values, COUNT: tl.constexpr):
    """Return the sums over channels of COUNT tensors (CHANNELS,), as (COUNT,); COUNT is a power of two.

    Lanes that have their sum in common keep it for one tensor each: adding two tensors to a half of the lanes
    each takes as many shuffles as adding one of them to all, so that the work halves from level to level.
    """
    LANES: tl.constexpr = values[0].shape[0] // 2
    parts = ()
    for i in tl.static_range(COUNT):
        parts = parts + (tl.sum(tl.reshape(values[i], (LANES, 2)), axis=1, keep_dims=True),)
    for level in tl.static_range(COUNT.bit_length() - 1):
        pairs = ()
        for i in tl.static_range(COUNT >> (level + 1)):
            pair = _sum_neighbours(parts[2 * i], parts[2 * i + 1], LANES >> level, 1 << level)
            pairs = pairs + (pair,)
        parts = pairs
    return tl.sum(parts[0], axis=0)


@triton.jit
def _sum_neighbours(a, b, LANES: tl.constexpr, RESULTS: tl.constexpr):
    """Return the sums over pairs of lanes of a and b (LANES, RESULTS), beside each other."""
    second = (tl.arange(0, 2) == 1)[None, :, None]
    a = tl.sum(tl.reshape(a, (LANES // 2, 2, RESULTS)), axis=1, keep_dims=True)
    b = tl.sum(tl.reshape(b, (LANES // 2, 2, RESULTS)), axis=1, keep_dims=True)
    return tl.reshape(tl.where(second, b, a), (LANES // 2, 2 * RESULTS))

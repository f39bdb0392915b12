"""What the Triton kernels of the convolution share: how a program finds its rows, channels and taps.

One program is one warp. It works on a *block* of channels, two of them a thread, and on a *segment* of rows,
which are positions of the flattened (B·L) and belong to one sequence. It goes through them in order, STEPS at
a time, and each thread keeps the last K - 1 inputs of its channels in registers, so that each number is read
once.
"""

import triton
import triton.language as tl

from seqsuite.kernels.gpu.triton_device import load, load_wide


@triton.jit
def locate(segments, D_MODEL: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the program's segment and its channels, and whether each channel exists.

    A segment is its index, first row, number of rows, sequence, the position of its first row in the
    sequence, and the number of rows from there to the sequence's end. The hint keeps every load to two
    neighbours a thread, so that a thread has the same channels of every tensor.
    """
    BLOCKS: tl.constexpr = (D_MODEL + CHANNELS - 1) // CHANNELS
    index = (tl.program_id(0) // BLOCKS).to(tl.int64)
    channel = (tl.program_id(0) % BLOCKS) * CHANNELS + tl.arange(0, CHANNELS)
    exists = tl.full((CHANNELS,), True, tl.int1) if D_MODEL % CHANNELS == 0 else channel < D_MODEL
    entry = segments + index * 5
    first, length = tl.load(entry), tl.load(entry + 1).to(tl.int32)
    sequence, position = tl.load(entry + 2), tl.load(entry + 3)
    segment = index, first, length, sequence, position, tl.load(entry + 4)
    return segment, tl.max_contiguous(channel, 2), exists


@triton.jit
def load_taps(weight, channel, exists, TAPS: tl.constexpr, dtype: tl.constexpr):
    """Return the filters, a tuple of K."""
    taps = ()
    for k in tl.static_range(TAPS):
        taps = taps + (load_wide(weight, channel * TAPS + k, exists, dtype),)
    return taps


@triton.jit
def load_before(
    x,
    initial_state,
    segment,
    channel,
    exists,
    x_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    TAPS: tl.constexpr,
    dtype: tl.constexpr,
):
    """Return the K - 1 inputs before a segment, those before its sequence from the initial state or zero."""
    _, first, _, sequence, position, _ = segment
    before = ()
    for i in tl.static_range(TAPS - 1):
        inside = exists & (position + i >= TAPS - 1)
        number = load(x, (first + (i - TAPS + 1)) * x_stride + channel, inside).to(dtype)
        if initial_state is not None:
            row = sequence * (TAPS - 1) + position + i
            outside = exists & (position + i < TAPS - 1)
            number += load(initial_state, row * D_MODEL + channel, outside).to(dtype)
        before = before + (number,)
    return before


@triton.jit
def load_rows(
    tensor, stride: tl.constexpr, row, channel, exists, count, STEPS: tl.constexpr, dtype: tl.constexpr
):
    """Return STEPS rows, widened, of which the first ``count`` exist; the others are zero."""
    rows = ()
    for k in tl.static_range(STEPS):
        rows = rows + (load(tensor, (row + k) * stride + channel, exists & (count > k)).to(dtype),)
    return rows


@triton.jit
def convolve(window, t: tl.constexpr, taps, bias, TAPS: tl.constexpr):
    """Return Σ_k taps[k] window[t + k] + bias."""
    p = taps[0] * window[t]
    for k in tl.static_range(1, TAPS):
        p += taps[k] * window[t + k]
    if bias is not None:
        p += bias
    return p


@triton.jit
def last(window, COUNT: tl.constexpr, STEPS: tl.constexpr):
    """Return the last COUNT of a window's STEPS + COUNT rows."""
    rows = ()
    for i in tl.static_range(COUNT):
        rows = rows + (window[STEPS + i],)
    return rows

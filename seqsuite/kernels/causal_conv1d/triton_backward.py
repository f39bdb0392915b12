"""The Triton kernel of the backward pass; ``cpu_kernels`` writes out the gradients.

dx of a row needs the gradients g before the activation of that row and of the K - 1 after it. A program goes
on for K - 1 rows into the next segment, as far as the sequence goes, and computes their g once more; beyond
the sequence g is zero. It writes dx of a row K - 1 steps after it has read the row.

No two programs add to the same number: dweight and dbias of each segment are parts, which a second kernel
adds up in a fixed order, so that the same input gives the same bits.
"""

import triton
import triton.language as tl

from seqsuite.kernels.causal_conv1d.triton_device import (
    convolve,
    last,
    load_before,
    load_rows,
    load_taps,
    locate,
)
from seqsuite.kernels.gpu.triton_device import load_wide, sigmoid, wide


@triton.jit
def gradient_kernel(
    x,
    weight,
    bias,
    initial_state,
    segments,
    dy,
    dx,
    parts,
    dinitial_state,
    x_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    TAPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Write all gradients.

    Args beside those of the forward:
        dy, dx: (rows, D).
        parts: parts of dweight and dbias, (segments, K + 1, D).
        dinitial_state: (S, K - 1, D), or None.
    """
    dtype: tl.constexpr = wide(x.dtype.element_ty)
    segment, channel, exists = locate(segments, D_MODEL, CHANNELS)
    index, first, length, sequence, position, remaining = segment
    read = tl.minimum(remaining, length + TAPS - 1).to(tl.int32)
    taps = load_taps(weight, channel, exists, TAPS, dtype)
    turned = ()
    for k in tl.static_range(TAPS):
        turned = turned + (taps[TAPS - 1 - k],)
    offset = load_wide(bias, channel, exists, dtype)
    inputs = load_before(x, initial_state, segment, channel, exists, x_stride, D_MODEL, TAPS, dtype)
    zero = tl.zeros((CHANNELS,), dtype)
    gradients, sums, sum_bias = (), (), zero
    for _ in tl.static_range(TAPS - 1):
        gradients = gradients + (zero,)
    for _ in tl.static_range(TAPS):
        sums = sums + (zero,)

    for start in range(0, length + TAPS - 1, STEPS):
        row = first + start
        window = inputs + load_rows(x, x_stride, row, channel, exists, read - start, STEPS, dtype)
        g = load_rows(dy, D_MODEL, row, channel, exists, read - start, STEPS, dtype)
        if ACTIVATION:
            g = _before_activation(g, window, taps, offset, TAPS, STEPS)
        sums, sum_bias = _add(sums, sum_bias, g, window, length - start, TAPS, STEPS)
        ahead = gradients + g
        for k in tl.static_range(STEPS):
            number = convolve(ahead, k, turned, None, TAPS).to(dx.dtype.element_ty)
            here = start + (k - TAPS + 1)
            inside = exists & (here >= 0) & (here < length)
            tl.store(dx + (first + here) * D_MODEL + channel, number, mask=inside)
            if dinitial_state is not None:  # an input before the sequence reaches it as any other
                history = exists & (position == 0) & (here < 0)
                before = sequence * (TAPS - 1) + start + k
                tl.store(dinitial_state + before * D_MODEL + channel, number, mask=history)
        inputs, gradients = last(window, TAPS - 1, STEPS), last(ahead, TAPS - 1, STEPS)

    part = parts + index * (TAPS + 1) * D_MODEL + channel
    for k in tl.static_range(TAPS):
        tl.store(part + k * D_MODEL, sums[k], mask=exists)
    if bias is not None:
        tl.store(part + TAPS * D_MODEL, sum_bias, mask=exists)


@triton.jit
def _before_activation(g, window, taps, bias, TAPS: tl.constexpr, STEPS: tl.constexpr):
    """Return the gradients of STEPS rows before SiLU from those after it."""
    gradients = ()
    for k in tl.static_range(STEPS):
        p = convolve(window, k, taps, bias, TAPS)
        s = sigmoid(p)
        gradients = gradients + (g[k] * s * (1.0 + p * (1.0 - s)),)
    return gradients


@triton.jit
def _add(sums, sum_bias, g, window, count, TAPS: tl.constexpr, STEPS: tl.constexpr):
    """Add the first ``count`` of STEPS rows to dweight and dbias.

    Summed by STEPS rows first: adding each small term to the sum of a segment would lose digits.
    """
    own = ()
    for t in tl.static_range(STEPS):
        own = own + (tl.where(t < count, g[t], 0.0),)
    total = own[0]
    for t in tl.static_range(1, STEPS):
        total += own[t]
    added = ()
    for k in tl.static_range(TAPS):
        part = own[0] * window[k]
        for t in tl.static_range(1, STEPS):
            part += own[t] * window[t + k]
        added = added + (sums[k] + part,)
    return added, sum_bias + total

"""The Triton kernel of the forward pass."""

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
def output_kernel(
    x,
    weight,
    bias,
    initial_state,
    segments,
    y,
    x_stride: tl.constexpr,
    D_MODEL: tl.constexpr,
    TAPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Write y (rows, D) of each segment.

    Args:
        x: (rows, D), ``x_stride`` numbers from row to row.
        weight: (D, K).
        bias: (D,), or None.
        initial_state: (S, K - 1, D), or None.
        segments: see ``locate``; (segments, 5).
    """
    dtype: tl.constexpr = wide(x.dtype.element_ty)
    segment, channel, exists = locate(segments, D_MODEL, CHANNELS)
    _, first, length, _, _, _ = segment
    taps = load_taps(weight, channel, exists, TAPS, dtype)
    offset = load_wide(bias, channel, exists, dtype)
    before = load_before(x, initial_state, segment, channel, exists, x_stride, D_MODEL, TAPS, dtype)
    for start in range(0, length, STEPS):
        row = first + start
        window = before + load_rows(x, x_stride, row, channel, exists, length - start, STEPS, dtype)
        outputs = ()
        for k in tl.static_range(STEPS):
            p = convolve(window, k, taps, offset, TAPS)
            if ACTIVATION:
                p *= sigmoid(p)
            outputs = outputs + (p,)
        for k in tl.static_range(STEPS):  # after the loads, which could not overtake a store
            number = outputs[k].to(y.dtype.element_ty)
            tl.store(y + (row + k) * D_MODEL + channel, number, mask=exists & (length - start > k))
        before = last(window, TAPS - 1, STEPS)

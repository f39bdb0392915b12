"""The functions of causal-conv1d against the equations that they compute, position by position in float64.

The cases are those of its own tests: the same switches, layouts and dtypes, at smaller sizes.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqsuite.kernels import compatibility as ours

from .comparison import DTYPES, SEQ_IDX, check, check_gradients, check_refusals, normal, wide


def convolution(x, weight, bias=None, seq_idx=None, initial_states=None, activation=None):
    """y_t = Σ_k w_k x_{t−K+1+k} + b, over inputs of the same sequence."""
    x, weight, bias, initial_states = map(wide, (x, weight, bias, initial_states))
    taps, length = weight.shape[1], x.shape[-1]
    before = torch.zeros_like(x[..., :1]).repeat(1, 1, taps - 1) if initial_states is None else initial_states
    padded = torch.cat([before, x], -1)
    ys = []
    for t in range(length):
        window = padded[..., t : t + taps]
        if seq_idx is not None:
            places = torch.arange(t - taps + 1, t + 1)
            same = (places >= 0) & (seq_idx[:, places.clamp_min(0)] == seq_idx[:, t, None])
            window = window * same[:, None]
        ys.append((window * weight).sum(-1))
    y = torch.stack(ys, -1)
    y = y if bias is None else y + bias[:, None]
    y = y if activation is None else F.silu(y)
    y = y if seq_idx is None else torch.where(seq_idx[:, None] < 0, 0, y)
    return y, padded[..., padded.shape[-1] - taps + 1 :]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize("taps", [2, 4])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("activation", [None, "silu", "swish"])
@pytest.mark.parametrize("channel_last", [False, True])
def test_causal_conv1d_fn(
    channel_last: bool, activation: str | None, initial: bool, taps: int, length: int, dtype: torch.dtype
) -> None:
    x, width = normal(2, 6, length, dtype=dtype), 6
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if channel_last else x
    weight, bias = normal(width, taps, dtype=torch.float32), normal(width, dtype=torch.float32)
    states = normal(2, width, taps - 1, seed=3, dtype=dtype) if initial else None
    expected = convolution(x, weight, bias, initial_states=states, activation=activation)
    options: dict[str, Any] = {"initial_states": states, "activation": activation}
    check(ours.causal_conv1d_fn(x, weight, bias, **options), expected[0], dtype)
    out = torch.empty(2, width, taps - 1, dtype=dtype)
    found = ours.causal_conv1d_fn(x, weight, bias, **options, return_final_states=True, final_states_out=out)
    check(found, expected, dtype)
    assert found[1] is out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "silu"])
def test_causal_conv1d_fn_of_packed_sequences(activation: str | None, dtype: torch.dtype) -> None:
    seq_idx = SEQ_IDX.clone().to(torch.int32)
    seq_idx[0, -3:] = -1
    x = normal(2, 6, 40, dtype=dtype)
    inputs = [x, normal(6, 4, dtype=torch.float32), normal(6, dtype=torch.float32)]
    found = ours.causal_conv1d_fn(*inputs, seq_idx=seq_idx, activation=activation)
    check(found, convolution(*inputs, seq_idx=seq_idx, activation=activation)[0], dtype)
    if dtype == torch.float64:
        check_gradients(
            lambda *leaves: ours.causal_conv1d_fn(*leaves, seq_idx=seq_idx, activation=activation),
            lambda *leaves: convolution(*leaves, seq_idx=seq_idx, activation=activation),
            list(map(wide, inputs)),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 4, 5])
@pytest.mark.parametrize("taps", [2, 4])
@pytest.mark.parametrize("longer", [0, 3])
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_causal_conv1d_update(
    indexed: bool, ring: bool, longer: int, taps: int, length: int, dtype: torch.dtype
) -> None:
    batch, width, size = 3, 6, taps - 1 + longer
    shape = (batch, width, length) if length else (batch, width)  # a single position has no dimension
    x, weight = normal(*shape, dtype=dtype), normal(width, taps, dtype=torch.float32)
    bias = normal(width, dtype=torch.float32)
    state = normal(5 if indexed else batch, width, size, seed=2, dtype=dtype)
    indices = torch.tensor([4, 0, 2], dtype=torch.int32) if indexed else None
    seen = torch.tensor([0, 5, 11], dtype=torch.int32) if ring else None
    picked = state.clone()[indices.long()] if indexed else state.clone()
    inputs = x if length else x[..., None]
    places = torch.arange(1 - taps, 0) + (seen[:, None] if ring else size)
    history = torch.stack(
        [row[:, place % size] for row, place in zip(picked, places.expand(batch, -1), strict=True)]
    )
    expected, _ = convolution(inputs, weight, bias, initial_states=history, activation="silu")
    after = picked.clone()
    for row in range(batch):
        for t in range(inputs.shape[-1]):
            if ring:
                after[row, :, (int(seen[row]) + t) % size] = inputs[row, :, t]
            else:
                after[row] = torch.cat([after[row, :, 1:], inputs[row, :, t : t + 1]], -1)

    found = ours.causal_conv1d_update(
        x, state, weight, bias, activation="silu", cache_seqlens=seen, conv_state_indices=indices
    )
    check(found, expected if length else expected[..., 0], dtype)
    assert torch.equal(state[indices.long()] if indexed else state, after)


def test_what_cannot_be_meant_is_said() -> None:
    """In the functions' own names and layouts."""
    x, weight, seq_idx = normal(2, 6, 8), normal(6, 4), torch.zeros(2, 8, dtype=torch.int64)
    states = normal(2, 3, 6)
    convolve, update = ours.causal_conv1d_fn, ours.causal_conv1d_update
    check_refusals(
        [
            (lambda: convolve(x, weight, activation="gelu"), "'silu' or 'swish', not 'gelu'"),
            (lambda: convolve(x, weight, activation=True), "not True"),
            (lambda: convolve(x[0], weight), r"x must have shape \(B, D, L\), not \(6, 8\)"),
            (lambda: convolve(x, weight, initial_states=states), r"\(B, D, K - 1\) = \(2, 6, 3\)"),
            (
                lambda: convolve(x, weight, return_final_states=True, final_states_out=states),
                r"final_states_out must have shape \(B, D, K - 1\) = \(2, 6, 3\)",
            ),
            (lambda: convolve(x, weight, seq_idx=seq_idx[:, :7]), r"\(B, L\) = \(2, 8\), not \(2, 7\)"),
            (lambda: convolve(x, weight, seq_idx=seq_idx.double()), "whole numbers"),
            (lambda: convolve(x, weight, seq_idx=seq_idx, return_final_states=True), "combined"),
            (lambda: update(x[..., 0], x[..., :2], weight), "K - 1 = 3"),
            (
                lambda: update(x[..., 0], normal(3, 6, 3), weight),
                r"conv_state .*= \(2, 6, 3\), not \(3, 6, 3\)",
            ),
        ]
    )

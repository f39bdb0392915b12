"""The short and the long convolution against sums written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from seqsuite.kernels import causal_conv1d, long_conv

sizes = st.integers(1, 9)


def written_out(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """y_t = Σ_k taps[:, k] x_{t-k}, one term at a time."""
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for k in range(min(t + 1, taps.shape[1])):
            y[:, t] += taps[:, k] * x[:, t - k]
    return y


@settings(deadline=None, max_examples=40)
@given(sizes, sizes, sizes, st.integers(1, 5), st.booleans())
def test_short_convolution_is_the_sum_written_out(B, L, D, K, activation):
    torch.manual_seed(L)
    x, weight, bias = torch.randn(B, L, D), torch.randn(D, K), torch.randn(D)
    x, weight, bias = x.double(), weight.double(), bias.double()
    expected = written_out(x, weight.flip(1)) + bias
    expected = torch.nn.functional.silu(expected) if activation else expected
    torch.testing.assert_close(causal_conv1d(x, weight, bias, activation=activation), expected)


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 9), st.integers(1, 5))
def test_short_convolution_goes_on_from_its_history_and_keeps_packed_sequences_apart(L, cut, K):
    x, weight = torch.randn(1, L, 3).double(), torch.randn(3, K).double()
    cut = min(cut, L)
    whole = causal_conv1d(x, weight)
    history = torch.cat([torch.zeros(1, K - 1, 3).double(), x[:, :cut]], dim=1)[:, cut:]
    second = causal_conv1d(x[:, cut:], weight, initial_state=history)
    torch.testing.assert_close(second, whole[:, cut:])
    packed = causal_conv1d(x, weight, cu_seqlens=torch.tensor([0, cut, L]))
    separate = [causal_conv1d(part, weight) for part in (x[:, :cut], x[:, cut:])]
    torch.testing.assert_close(packed, torch.cat(separate, dim=1))


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(1, 40), sizes)
def test_long_convolution_is_the_sum_written_out(B, L, D):
    u, kernel = torch.randn(B, L, D).double(), torch.randn(D, L).double()
    torch.testing.assert_close(long_conv(u, kernel), written_out(u, kernel))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_long_convolution_keeps_the_inputs_dtype(dtype):
    u, kernel = torch.randn(2, 16, 3), torch.randn(3, 16)
    y = long_conv(u.to(dtype), kernel)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), written_out(u.to(dtype).float(), kernel), rtol=0.02, atol=0.02)


def test_gradients():
    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    assert gradcheck(long_conv, (some(2, 5, 3), some(3, 5)))
    assert gradcheck(causal_conv1d, (some(2, 5, 3), some(3, 4), some(3)))

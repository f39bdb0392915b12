"""The short and the long convolution against sums written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from seqsuite.kernels import causal_conv1d, long_conv
from seqsuite.kernels.long_conv.reference import fast_length

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


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 12), st.integers(1, 12), st.integers(1, 30))
def test_long_convolution_goes_on_from_its_history_and_keeps_packed_sequences_apart(cut, rest, K):
    u, kernel = torch.randn(1, cut + rest, 3).double(), torch.randn(3, K).double()
    whole = written_out(u, kernel)
    second = long_conv(u[:, cut:], kernel, initial_state=u[:, :cut])
    torch.testing.assert_close(second, whole[:, cut:])
    packed = long_conv(u, kernel, cu_seqlens=torch.tensor([0, cut, cut + rest]))
    torch.testing.assert_close(packed[:, :cut], whole[:, :cut])
    torch.testing.assert_close(packed[:, cut:], written_out(u[:, cut:], kernel))
    past = torch.randn(2, 4, 3).double()
    going_on = long_conv(u, kernel, initial_state=past, cu_seqlens=torch.tensor([0, cut, cut + rest]))
    for part, history in ((slice(0, cut), past[:1]), (slice(cut, None), past[1:])):
        expected = written_out(torch.cat([history, u[:, part]], dim=1), kernel)[:, 4:]
        torch.testing.assert_close(going_on[:, part], expected)


def test_lengths_of_the_fourier_transform():
    def smooth(n: int) -> bool:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    even_and_smooth = [n for n in range(2, 5000, 2) if smooth(n)]
    for length in range(1, 4800):
        assert fast_length(length) == next(n for n in even_and_smooth if n >= length)


@pytest.mark.parametrize(
    ("u", "kernel", "more", "message"),
    [
        ((2, 5), (3, 5), {}, r"u must have shape \(B, L, D\), not \(2, 5\)"),
        ((2, 5, 3), (4, 5), {}, r"kernel must have shape \(D, K\) with D = 3, not \(4, 5\)"),
        ((2, 5, 3), (3, 5), {"cu_seqlens": torch.tensor([0, 5])}, r"u must have shape \(1, L, D\)"),
        ((1, 5, 3), (3, 5), {"cu_seqlens": torch.tensor([0, 4])}, r"must rise from 0 to L = 5, but holds"),
        ((2, 5, 3), (3, 5), {"initial_state": torch.zeros(1, 2, 3)}, r"must have shape \(2, T, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(u, kernel, more, message):
    with pytest.raises(ValueError, match=message):
        long_conv(torch.zeros(u), torch.zeros(kernel), **more)


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
    assert gradcheck(
        lambda u, k, h: long_conv(u, k, initial_state=h), (some(2, 5, 3), some(3, 7), some(2, 3, 3))
    )
    assert gradcheck(causal_conv1d, (some(2, 5, 3), some(3, 4), some(3)))

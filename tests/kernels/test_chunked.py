"""Chunked forms where a head forgets all at once, and where a number is none."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import gated_delta_rule, ssd

L, HUGE, AT = 100, 1e4, 10
"""A step of size HUGE at position AT of L: what was before it is forgotten."""

Inputs = dict[str, Tensor]


def numbers(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)), dtype=torch.float64)


def ssd_inputs() -> Inputs:
    dt = 0.1 * numbers(1, L, 2).abs()
    dt[:, AT] = HUGE
    x, A = numbers(1, L, 2, 8), -numbers(2).abs() - 0.1
    return {"x": x, "dt": dt, "A": A, "B": numbers(1, L, 1, 4), "C": numbers(1, L, 1, 5)[..., :4]}


def delta_inputs() -> Inputs:
    decay = -0.1 * numbers(1, L, 2).abs()
    decay[:, AT] = -HUGE
    keys = torch.nn.functional.normalize(numbers(1, L, 2, 4), dim=-1)
    v, beta = numbers(1, L, 2, 8), numbers(1, L, 2).sigmoid()
    return {"q": numbers(1, L, 2, 4), "k": keys, "v": v, "log_decay": decay, "beta": beta}


def run_delta(backend: str, **inputs: Tensor) -> Tensor:
    return gated_delta_rule(**inputs, backend=backend)[0]


CASES = [
    pytest.param(ssd, ssd_inputs, "chunked", "x", id="ssd-chunked"),
    pytest.param(ssd, ssd_inputs, "cpu", "x", id="ssd-cpu"),
    pytest.param(run_delta, delta_inputs, "chunked", "v", id="gated_delta-chunked"),
]
chunked = pytest.mark.parametrize(("operation", "make", "backend", "values"), CASES)


@chunked
def test_no_digits_are_lost_after_a_large_step(
    operation: Callable[..., Tensor], make: Callable[[], Inputs], backend: str, values: str
) -> None:
    """In float32, as near to float64 as the recurrence is: outputs and all gradients."""
    exact = {name: t.requires_grad_() for name, t in make().items()}
    expected = operation(**exact, backend="reference")
    weights = torch.cos(torch.arange(expected.numel(), dtype=torch.float64)).view(expected.shape)
    rounded = {name: t.detach().float().requires_grad_() for name, t in exact.items()}
    actual = operation(**rounded, backend=backend)
    results = zip(
        (actual, *torch.autograd.grad((actual * weights.float()).sum(), list(rounded.values()))),
        (expected, *torch.autograd.grad((expected * weights).sum(), list(exact.values()))),
        strict=True,
    )
    for result, reference in results:
        assert (result - reference).abs().max() < 3e-6 * reference.abs().max()


@chunked
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_out_of_the_past(
    operation: Callable[..., Tensor], make: Callable[[], Inputs], backend: str, values: str, bad: float
) -> None:
    """And out of other channels, though matrix products take the whole chunk together."""
    at, inputs = AT + 5, make()
    expected = operation(**inputs, backend=backend)
    for name in inputs:
        if name == "A":
            continue
        spoilt = inputs[name].clone()
        spoilt[:, at] = bad
        y = operation(**inputs | {name: spoilt}, backend=backend)
        torch.testing.assert_close(y[:, :at], expected[:, :at], msg=name)
    spoilt = inputs[values].clone()
    spoilt[0, at, 1, 3] = bad
    y = operation(**inputs | {values: spoilt}, backend=backend)
    assert not y[0, at:, 1, 3].isfinite().any()
    others = torch.arange(8) != 3
    torch.testing.assert_close(y[..., others], expected[..., others])
    torch.testing.assert_close(y[:, :, 0], expected[:, :, 0])

"""The textbook prefix scan against a loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.kernels import parallel_scan, selective_scan

from .scan_cases import scan_case


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 70), dim=st.sampled_from([0, 1, -1]), seed=st.integers(0, 99))
def test_equals_a_loop(length: int, dim: int, seed: int) -> None:
    torch.manual_seed(seed)
    a, b = torch.rand(2, length, 3, 2, dtype=torch.float64)
    h, states = torch.zeros(3, 2, dtype=torch.float64), []
    for t in range(length):
        h = a[t] * h + b[t]
        states.append(h)
    expected = torch.stack(states)
    actual = parallel_scan(a.movedim(0, dim), b.movedim(0, dim), dim=dim).movedim(dim, 0)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-13)


def test_gradcheck_and_complex() -> None:
    a, b = torch.randn(2, 2, 7, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(parallel_scan, (a.requires_grad_(), b.requires_grad_()))


def test_is_the_recurrence_of_the_selective_scan() -> None:
    case = scan_case(gate=False, skip=False, bias=False, softplus=False, initial_state=False)
    delta, u, B = case["delta"][..., None], case["u"][..., None], case["B"][:, :, None]
    h = parallel_scan(torch.exp(delta * case["A"]), delta * u * B)
    y = (h * case["C"][:, :, None]).sum(-1)
    torch.testing.assert_close(y, selective_scan(**case), rtol=1e-12, atol=1e-12)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"one shape, not \(2, 3\) and \(2, 4\)"):
        parallel_scan(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(ValueError, match="dim must be"):
        parallel_scan(torch.ones(2), torch.ones(2))

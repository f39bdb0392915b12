"""The impulse response of linear systems, against powers of the matrix taken one by one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqsuite.kernels import impulse_response


def systems(count: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, B and C of stable systems, in float64."""
    generator = torch.Generator().manual_seed(count + size)
    A = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))[0] * 0.99
    B, C = torch.randn(2, count, size, generator=generator, dtype=torch.float64)
    return A, B, C


def one_by_one(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Return the same by a recurrence, (D, length)."""
    states, h = [], B
    for _ in range(length):
        states.append(h)
        h = (A @ h.unsqueeze(2)).squeeze(2)
    return (torch.stack(states, 1) * C.unsqueeze(1)).sum(2) if states else C.new_empty(len(C), 0)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 70))
def test_equals_a_recurrence(count: int, size: int, length: int) -> None:
    inputs = systems(count, size)
    torch.testing.assert_close(
        impulse_response(*inputs, length), one_by_one(*inputs, length), rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("length", [1, 2, 33, 64])
def test_gradients(length: int) -> None:
    inputs = tuple(x.requires_grad_() for x in systems(2, 4))
    weights = torch.cos(torch.arange(2.0 * length, dtype=torch.float64)).view(2, length)
    found, expected = (
        torch.autograd.grad((run(*inputs, length) * weights).sum(), inputs, materialize_grads=True)
        for run in (impulse_response, one_by_one)
    )
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_a_long_one_of_contractions_keeps_its_digits() -> None:
    """Errors of powers add up, by as much as those of a recurrence, and do not grow by themselves."""
    A, B, C = systems(3, 8)
    A = A / 0.99 * 0.9999
    expected = impulse_response(A, B, C, 20_000)
    found = impulse_response(A.float(), B.float(), C.float(), 20_000).double()
    assert (found - expected).norm() / expected.norm() < 1e-3


def test_compiled_once_for_all_lengths() -> None:
    inputs = systems(2, 4)
    compiled = torch.compile(impulse_response, backend="aot_eager", dynamic=True, fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for length in (5, 17, 200):
            torch.testing.assert_close(compiled(*inputs, length), one_by_one(*inputs, length))

"""Comparing the drop-in functions with the equations of their namesakes, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

Refusals = list[tuple[Callable[[], Any], str]]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]

SEQ_IDX = torch.tensor([[0] * 9 + [1] * 20 + [2] * 11, [3] * 2 + [4] * 38])
"""Two rows of 40 positions, cut into sequences of different lengths."""


def normal(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    """Return normal numbers that ``dtype`` can hold."""
    generator = torch.Generator().manual_seed(seed + 7 * len(size) + sum(size))
    return (scale * torch.randn(size, generator=generator, dtype=torch.float64)).to(dtype)


def wide(values: Any) -> Any:
    """Return what is floating in float64 (complex128)."""
    if not isinstance(values, Tensor) or not (values.is_floating_point() or values.is_complex()):
        return values
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def check(actual: Any, expected: Any, dtype: torch.dtype) -> None:
    """Compare with the float64 reference, relative to its size."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            check(one, other, dtype)
        return
    if expected is None:
        assert actual is None
        return
    assert actual.shape == expected.shape
    bound = TOLERANCE[dtype] * max(1.0, expected.abs().max().item())
    assert (wide(actual) - expected).abs().max().item() <= bound


def check_gradients(ours: Any, reference: Any, inputs: list[Tensor]) -> None:
    """Compare the gradients of a random weighting of the first output, in float64."""
    found = []
    for function in (ours, reference):
        leaves = [value.clone().requires_grad_() for value in inputs]
        output = function(*leaves)
        output = output[0] if isinstance(output, tuple) else output
        weights = normal(*output.shape, seed=99)
        found.append(torch.autograd.grad((output * weights).sum(), leaves))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def check_refusals(refusals: Refusals) -> None:
    """Check that each call is refused in a sentence that says so."""
    for call, reason in refusals:
        with pytest.raises((TypeError, ValueError), match=reason):
            call()

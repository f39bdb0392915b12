"""Inputs for the scan's tests, and what two backends make of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import selective_scan

Case = dict[str, Any]

real_and_complex = pytest.mark.parametrize("complex", ["", "ABC"], ids=["real", "complex"])


def scan_case(
    seed: int = 0,
    batch: int = 2,
    seqlen: int = 21,
    d_model: int = 20,
    d_state: int = 4,
    groups: int | None = None,
    dtype: torch.dtype = torch.float64,
    gate: bool = True,
    skip: bool = True,
    bias: bool = True,
    softplus: bool = True,
    initial_state: bool = True,
    offsets: list[int] | None = None,
    constant: str = "",
    complex: str = "",
) -> Case:
    """Return arguments of ``selective_scan``, every one that is no integer with a gradient to come.

    ``constant`` names those of B and C that are (D, N), ``complex`` those of A, B and C that are complex; the
    initial state is complex if A is.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    varying = (batch, seqlen, d_state) if groups is None else (batch, seqlen, groups, d_state)
    shapes = {name: (d_model, d_state) if name in constant else varying for name in "BC"}
    sequences = batch if offsets is None else len(offsets) - 1
    delta, delta_bias = normal(batch, seqlen, d_model), normal(d_model) / 4
    if not softplus:  # steps go forward in time
        delta, delta_bias = delta.abs() / 4, delta_bias.abs()
    case = {
        "u": normal(batch, seqlen, d_model),
        "delta": delta,
        "A": -normal(d_model, d_state).abs() - 0.05,
        "B": normal(*shapes["B"]),
        "C": normal(*shapes["C"]),
        "D": normal(d_model) if skip else None,
        "z": normal(batch, seqlen, d_model) if gate else None,
        "delta_bias": delta_bias if bias else None,
        "initial_state": normal(sequences, d_model, d_state) if initial_state else None,
    }
    for name in complex:
        real = case[name]
        case[name] = torch.complex(real, normal(*real.shape))
    if "A" in complex and initial_state:
        case["initial_state"] = torch.complex(case["initial_state"], normal(sequences, d_model, d_state))
    tensors = {name: None if t is None else t.to(like(t, dtype)).requires_grad_() for name, t in case.items()}
    cu_seqlens = None if offsets is None else torch.tensor(offsets)
    return {**tensors, "delta_softplus": softplus, "cu_seqlens": cu_seqlens}


def like(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return ``dtype``, or the complex one of its precision if the tensor is complex."""
    return dtype.to_complex() if tensor.is_complex() else dtype


def in_float64(case: Case) -> Case:
    """Return the same numbers in float64 or complex128, apart from the case's own graph."""
    return {
        name: value.detach().to(like(value, torch.float64)).requires_grad_()
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
        else value
        for name, value in case.items()
    }


def results(case: Case, backend: str, with_final_state: bool = True) -> dict[str, Tensor]:
    """Return y, the final state and the gradient of each input of a fixed random sum over them."""
    y, final_state = selective_scan(**case, return_final_state=True, backend=backend)
    generator = torch.Generator().manual_seed(1)
    outputs = [y, final_state] if with_final_state else [y]
    weights = [torch.randn(t.shape, generator=generator, dtype=like(t, torch.float32)).to(t) for t in outputs]
    inputs = {name: t for name, t in case.items() if isinstance(t, Tensor) and t.requires_grad}
    gradients = torch.autograd.grad(outputs, list(inputs.values()), weights)
    by_input = {f"d{name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
    return {"y": y.detach(), "final_state": final_state.detach(), **by_input}


def relative_error(actual: Tensor, expected: Tensor, size: Tensor | None = None) -> float:
    """Return ‖actual − expected‖ / ‖size‖ in float64; the size is by default ``expected``."""
    dtype = like(expected, torch.float64)
    difference = (actual.to(dtype) - expected.to(dtype)).norm()
    return float(difference / (expected if size is None else size).to(dtype).norm().clamp_min(1e-30))


def assert_close(
    actual: dict[str, Tensor],
    expected: dict[str, Tensor],
    forward: float,
    gradients: float,
    sizes: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Check every result to its tolerance, relative in norm, of some to other sizes than the results' own."""
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        tolerance = gradients if name.startswith("d") else forward
        error = relative_error(value, expected[name], sizes.get(name))
        assert error <= tolerance, f"{name}: relative error {error:.2e}"

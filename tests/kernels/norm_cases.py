"""Inputs for the norm's tests, and what a backend makes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import rms_norm

Case = dict[str, Any]

every_form = pytest.mark.parametrize("form", ["alone", "gate", "residual"])


def norm_case(
    *shape: int, form: str = "alone", dtype: torch.dtype = torch.float64, eps: float = 1e-5
) -> Case:
    """Return arguments of ``rms_norm``, every floating one with a gradient to come."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    case: Case = {"x": normal(*shape), "weight": normal(shape[-1]), "eps": eps}
    return case if form == "alone" else case | {form: normal(*shape)}


def results(case: Case, backend: str) -> dict[str, Tensor]:
    """Return the outputs and the gradient of each input of a fixed random sum over them."""
    outputs = rms_norm(**case, backend=backend)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
    inputs = {name: t for name, t in case.items() if isinstance(t, Tensor)}
    gradients = torch.autograd.grad(outputs, list(inputs.values()), weights)
    named = {f"y{i}": t.detach() for i, t in enumerate(outputs)}
    return named | {f"d{name}": g for name, g in zip(inputs, gradients, strict=True)}

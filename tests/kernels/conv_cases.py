"""Inputs for the short convolution's tests, and what a backend makes of them."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from seqsuite.kernels import causal_conv1d

Case = dict[str, Any]


def conv_case(
    seed: int = 0,
    batch: int = 2,
    seqlen: int = 21,
    d_model: int = 20,
    taps: int = 4,
    dtype: torch.dtype = torch.float64,
    bias: bool = True,
    activation: bool = True,
    initial_state: bool = True,
    offsets: list[int] | None = None,
) -> Case:
    """Return arguments of ``causal_conv1d``, every floating one with a gradient to come."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.to(dtype).requires_grad_()

    sequences = batch if offsets is None else len(offsets) - 1
    return {
        "x": normal(batch, seqlen, d_model),
        "weight": normal(d_model, taps),
        "bias": normal(d_model) if bias else None,
        "initial_state": normal(sequences, taps - 1, d_model) if initial_state else None,
        "activation": activation,
        "cu_seqlens": None if offsets is None else torch.tensor(offsets),
    }


def results(case: Case, backend: str, with_final_state: bool = True) -> dict[str, Tensor]:
    """Return the outputs and the gradient of each input of a fixed random sum over them."""
    y, final_state = causal_conv1d(**case, return_final_state=True, backend=backend)
    outputs = [y, final_state] if with_final_state else [y]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
    inputs = {name: t for name, t in case.items() if isinstance(t, Tensor) and t.requires_grad}
    gradients = torch.autograd.grad(outputs, list(inputs.values()), weights)
    by_input = {f"d{name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
    return {"y": y.detach(), "final_state": final_state.detach(), **by_input}


def added_up(case: Case) -> dict[str, Tensor]:
    """Return of the gradients that are sums over positions what is added up, each term without its sign.

    Rounding is relative to that: a sum of eighty numbers that is nearly zero has few correct digits.
    """
    plain = case | {"activation": False}
    y, _ = causal_conv1d(**plain, return_final_state=True, backend="reference")
    before = y.detach().requires_grad_()
    after = torch.nn.functional.silu(before) if case["activation"] else before * 1
    generator = torch.Generator().manual_seed(1)  # as that of the results
    upstream = torch.randn(y.shape, generator=generator).to(y)
    (terms,) = torch.autograd.grad(after, before, upstream)
    size = {
        name: None if case[name] is None else case[name].detach().abs() for name in ("x", "initial_state")
    }
    y, _ = causal_conv1d(**(plain | size | {"bias": None}), return_final_state=True, backend="reference")
    (of_weight,) = torch.autograd.grad(y, case["weight"], terms.abs())
    return {"dweight": of_weight, "dbias": terms.abs().sum((0, 1))}


@st.composite
def case_arguments(draw: st.DrawFn, most_rows: int, most_channels: int) -> dict[str, Any]:
    """Draw arguments of ``conv_case``: any options and shapes, packed sequences too, some of them empty."""
    packed = draw(st.booleans())
    seqlen = draw(st.integers(0, most_rows))
    inner = sorted(draw(st.lists(st.integers(0, seqlen), max_size=4))) if packed else []
    return {
        "seed": draw(st.integers(0, 1000)),
        "batch": 1 if packed else draw(st.integers(1, 3)),
        "seqlen": seqlen,
        "d_model": draw(st.integers(1, most_channels)),
        "taps": draw(st.integers(1, 5)),
        "dtype": draw(st.sampled_from([torch.float64, torch.float32])),
        "bias": draw(st.booleans()),
        "activation": draw(st.booleans()),
        "initial_state": draw(st.booleans()),
        "offsets": [0, *inner, seqlen] if packed else None,
    }

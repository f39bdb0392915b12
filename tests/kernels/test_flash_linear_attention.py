"""fla-core as a backend: what it is given and gives back, and on a GPU against float64."""

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import backends, flash_linear_attention, gated_delta_rule, ssd

from . import test_gated_delta_rule, test_ssd
from .scan_cases import relative_error

needs_fla = pytest.mark.skipif(find_spec("fla") is None, reason="fla-core is not installed")
Operation = Callable[..., tuple[Tensor, Tensor]]

OPERATIONS = pytest.mark.parametrize(
    ("operation", "make_case"),
    [
        (partial(ssd, dt_softplus=True, return_final_state=True), test_ssd.make_case),
        (gated_delta_rule, test_gated_delta_rule.make_case),
    ],
    ids=["ssd", "gated_delta_rule"],
)


def naive(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return fla-core's own plain form of a function with the arguments of its kernels."""

    def call(*, initial_state: Tensor, state_v_first: bool, cu_seqlens: None, **given: Any) -> Any:
        assert state_v_first
        y, state = function(initial_state=initial_state.mT, **given)
        return y.to(given["v"].dtype), state.mT

    return call


@needs_fla
@OPERATIONS
def test_means_the_same_as_its_plain_form(
    operation: Operation, make_case: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scales, decays, groups and the layout of states, by what fla-core has for the CPU."""
    with warnings.catch_warnings(action="ignore"):  # that there is no GPU
        from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
        from fla.ops.simple_gla.naive import naive_recurrent_simple_gla
    functions = naive(naive_recurrent_simple_gla), naive(naive_recurrent_gated_delta_rule)
    monkeypatch.setattr(flash_linear_attention, "fla_functions", lambda: functions)
    monkeypatch.setattr(flash_linear_attention.torch.cuda, "is_available", lambda: True)
    case = {name: value.detach().float() for name, value in make_case(seqlen=9).items()}
    for actual, expected in zip(operation(**case, backend="fla"), operation(**case), strict=True):
        assert relative_error(actual, expected) < 1e-5


def test_is_not_chosen_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    case = {name: value.detach().bfloat16() for name, value in test_ssd.make_case().items()}
    assert not flash_linear_attention.is_faster_for(case["x"])
    statuses = {status.name: status for status in backends()["ssd"]}
    assert statuses["fla"].reason == "there is no GPU that PyTorch can use"
    with pytest.raises(ValueError, match="'fla', which cannot be used here: there is no GPU"):
        ssd(**case, backend="fla")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@needs_fla
@OPERATIONS
@pytest.mark.parametrize("offsets", [None, [0, 70, 300]])
def test_equals_float64_on_a_gpu(
    operation: Operation, make_case: Callable[..., dict[str, Tensor]], offsets: list[int] | None
) -> None:
    """To the rounding of bfloat16, 8 bits, in products of some hundred terms: 1 % in norm, gradients 2 %."""
    case = make_case(batch=1 if offsets else 2, seqlen=300, heads=4, width=64)
    if offsets is not None:
        case["initial_state"] = torch.randn(2, *case["initial_state"].shape[1:]).double().requires_grad_()
    # What is 64 wide on one side is as narrow as the case makes it on the other: fla-core takes any width.
    rounded = {name: value.detach().bfloat16() for name, value in case.items()}
    narrow = {name: value.cuda().requires_grad_() for name, value in rounded.items()}
    exact = {name: value.double().requires_grad_() for name, value in rounded.items()}
    cu_seqlens = None if offsets is None else torch.tensor(offsets)
    outputs = operation(**narrow, cu_seqlens=cu_seqlens)
    assert flash_linear_attention.is_faster_for(next(iter(narrow.values())))
    expected = operation(**exact, cu_seqlens=cu_seqlens, backend="reference")
    weights = [torch.randn(t.shape).bfloat16() for t in expected]
    gradients = torch.autograd.grad(
        outputs, list(narrow.values()), [w.cuda().to(t.dtype) for w, t in zip(weights, outputs, strict=True)]
    )
    exact_gradients = torch.autograd.grad(expected, list(exact.values()), [w.double() for w in weights])
    for actual, wanted in zip(outputs, expected, strict=True):
        assert relative_error(actual.detach().cpu(), wanted.detach()) < 1e-2
    for name, actual, wanted in zip(narrow, gradients, exact_gradients, strict=True):
        assert relative_error(actual.cpu(), wanted) < 2e-2, name

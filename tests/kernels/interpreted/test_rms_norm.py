"""The norm's Triton kernels, run in the interpreter, against the reference in float64."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.kernels import rms_norm
from seqsuite.kernels.rms_norm import triton_launch

from ..norm_cases import every_form, norm_case, results
from ..scan_cases import assert_close, in_float64


def use_tiling(
    monkeypatch: pytest.MonkeyPatch, *, rows: int = 3, numbers: int = 2, launch: Any = triton_launch
) -> None:
    """Make runs of rows and tiles small enough that few rows have several."""
    for name in ("FORWARD", "BACKWARD"):
        work = replace(getattr(launch, name), least_rows=rows, most_rows=rows, numbers=numbers)
        monkeypatch.setattr(launch, name, work)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(4, 140)),
    form=st.sampled_from(["alone", "gate", "residual"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    rows=st.integers(1, 9),
    numbers=st.sampled_from([2, 8, 32]),
)
def test_equals_the_reference(
    shape: tuple[int, ...], form: str, dtype: torch.dtype, rows: int, numbers: int
) -> None:
    case = norm_case(*shape, form=form, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        use_tiling(patch, rows=rows, numbers=numbers)
        actual = results(case, "triton")
    tolerances = (1e-6, 1e-5) if dtype == torch.float32 else (1e-12, 1e-12)
    assert_close(actual, results(in_float64(case), "reference"), *tolerances)


@every_form
@pytest.mark.parametrize("width", [1, 2, 3])
def test_narrow_rows(width: int, form: str) -> None:
    """Where dx nearly vanishes, since a narrow row changes little by being stretched."""
    case = norm_case(20, width, form=form)
    expected = results(case, "reference")
    for name, value in results(case, "triton").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_as_it_is_tiled_on_a_gpu() -> None:
    case = norm_case(19, 600, form="gate", dtype=torch.float32)
    assert_close(results(case, "triton"), results(in_float64(case), "reference"), 1e-6, 1e-5)


@every_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, form: str) -> None:
    case = norm_case(2, 9, 33, form=form, dtype=torch.float32)
    narrow = {
        name: case[name].detach().to(dtype).requires_grad_() for name in case.keys() - {"weight", "eps"}
    }
    actual = results(case | narrow, "triton")
    assert actual["y0"].dtype == actual["dx"].dtype == dtype
    assert actual["dweight"].dtype == torch.float32
    assert_close(actual, results(in_float64(case | narrow), "reference"), forward=1e-2, gradients=1e-2)


def test_the_sum_alone_passes_its_gradient_on() -> None:
    case = norm_case(3, 5, form="residual")
    _, total = rms_norm(**case, backend="triton")
    gradients = torch.autograd.grad(total.sum(), [case["x"], case["residual"]])
    assert all(torch.equal(gradient, torch.ones_like(gradient)) for gradient in gradients)


def test_without_a_gradient_of_the_sum() -> None:
    case = norm_case(3, 5, form="residual")
    names = ["x", "residual", "weight"]
    actual, expected = (
        torch.autograd.grad(rms_norm(**case, backend=backend)[0].sum(), [case[name] for name in names])
        for backend in ("triton", "reference")
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_a_row_of_zeros_without_eps_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it does not exist, in a tile that is not full."""
    use_tiling(monkeypatch, rows=4, numbers=32)
    case = norm_case(5, 6, eps=0.0)
    assert_close(results(case, "triton"), results(case, "reference"), 1e-12, 1e-12)
    with torch.no_grad():
        case["x"][2] = 0.0
    y = rms_norm(**case, backend="triton")
    assert y[[0, 1, 3, 4]].isfinite().all()


def test_rows_beyond_two_to_the_31() -> None:
    """Rows that lie 2^30 numbers apart in memory: a third row is out of the reach of 32 bits."""
    memory = torch.empty(2 * 2**30 + 8, dtype=torch.float16)  # touched at three places only
    x = memory.as_strided((3, 8), (2**30, 1))
    x.copy_(torch.randn(3, 8))
    case = norm_case(3, 8, dtype=torch.float32)
    here, there = (case | {"x": value.requires_grad_()} for value in (x.contiguous(), x))
    assert_close(results(there, "triton"), results(here, "triton"), forward=0.0, gradients=0.0)


def test_halves_of_a_projection() -> None:
    """Slices are read where they are; transposed inputs are copied."""
    case = norm_case(2, 3, 20, form="gate")
    both = torch.cat([case["gate"], case["x"]], dim=2).detach()
    odd = case | {"gate": both[..., :20].requires_grad_(), "x": both[..., 20:].requires_grad_()}
    assert_close(results(odd, "triton"), results(case, "triton"), forward=0.0, gradients=0.0)
    turned = case | {"x": case["x"].detach().mT.contiguous().mT.requires_grad_()}
    assert_close(results(turned, "triton"), results(case, "triton"), forward=0.0, gradients=0.0)


def test_operators_keep_the_dispatcher_rules() -> None:
    case = norm_case(2, 3, 5, form="residual")
    rms_norm(**case, backend="triton")  # defines the operators
    inputs = [case["x"], case["weight"], case["eps"], None, case["residual"]]
    torch.library.opcheck(torch.ops.seqsuite.rms_norm_forward.default, ("triton", *inputs))
    plain = [x.detach() if isinstance(x, torch.Tensor) else x for x in inputs]
    ones = torch.ones_like(plain[0])
    torch.library.opcheck(torch.ops.seqsuite.rms_norm_backward.default, ("triton", ones, ones, *plain))


def test_differentiating_twice_is_refused() -> None:
    case = norm_case(2, 3)
    loss = rms_norm(**case, backend="triton").sum()
    (gradient,) = torch.autograd.grad(loss, case["x"], create_graph=True)
    with pytest.raises(NotImplementedError, match="the triton backend has no second derivatives"):
        gradient.sum().backward()

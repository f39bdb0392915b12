"""The convolution's Triton kernels, run in the interpreter, against the reference in float64."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.kernels import causal_conv1d
from seqsuite.kernels.causal_conv1d import triton_launch

from ..conv_cases import case_arguments, conv_case, results
from ..scan_cases import assert_close, in_float64


def use_tiling(
    monkeypatch: pytest.MonkeyPatch, *, rows: int = 6, steps: int = 4, launch: Any = triton_launch
) -> None:
    """Make segments small enough that a short sequence has several."""
    monkeypatch.setattr(launch, "MIN_ROWS", rows)
    monkeypatch.setattr(launch, "MAX_ROWS", rows)
    monkeypatch.setattr(launch, "STEPS", steps)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    arguments=case_arguments(most_rows=16, most_channels=70),
    with_final_state=st.booleans(),
    rows=st.integers(1, 9),
    steps=st.sampled_from([1, 2, 4]),
)
def test_equals_the_reference(
    arguments: dict[str, Any], with_final_state: bool, rows: int, steps: int
) -> None:
    case = conv_case(**arguments)
    with pytest.MonkeyPatch.context() as patch:
        use_tiling(patch, rows=rows, steps=steps)
        actual = results(case, "triton", with_final_state)
    expected = results(in_float64(case), "reference", with_final_state)
    tolerances = (1e-6, 1e-5) if case["x"].dtype == torch.float32 else (1e-12, 1e-12)
    assert_close(actual, expected, *tolerances)


def test_as_it_is_tiled_on_a_gpu() -> None:
    """More channels than a block has and more rows than a segment, of the sizes that a GPU gets."""
    case = conv_case(batch=1, seqlen=67, d_model=65, dtype=torch.float32)
    assert_close(results(case, "triton"), results(in_float64(case), "reference"), 1e-6, 1e-5)


def test_more_taps_than_rows_in_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, rows=3, steps=2)
    case = conv_case(batch=1, seqlen=10, taps=9)
    assert_close(results(case, "triton"), results(case, "reference"), forward=1e-12, gradients=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs and what has their form are rounded, the filters and the arithmetic are not."""
    use_tiling(monkeypatch)
    case = conv_case(batch=1, seqlen=9, dtype=torch.float32)
    for name in ("x", "initial_state"):
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, "triton")
    assert actual["y"].dtype == actual["dx"].dtype == actual["dinitial_state"].dtype == dtype
    assert actual["dweight"].dtype == actual["dbias"].dtype == torch.float32
    assert_close(actual, results(in_float64(case), "reference"), forward=4e-3, gradients=4e-3)


def test_sums_of_half_precision_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly those of the same numbers in float32, as nothing is rounded on the way to them."""
    use_tiling(monkeypatch)
    case = conv_case(batch=1, seqlen=9, dtype=torch.float32)
    wide = case | {
        name: case[name].detach().bfloat16().float().requires_grad_() for name in ("x", "initial_state")
    }
    narrow = wide | {name: wide[name].detach().bfloat16().requires_grad_() for name in ("x", "initial_state")}
    sums = []
    for version in (narrow, wide):
        y = causal_conv1d(**version, backend="triton")
        sums.append(torch.autograd.grad(y, [version["weight"], version["bias"]], torch.ones_like(y)))
    torch.testing.assert_close(*sums, rtol=0, atol=0)


def test_mixed_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch)
    case = conv_case(batch=1, seqlen=9, dtype=torch.float32)
    for name, dtype in {"x": torch.float16, "weight": torch.bfloat16, "bias": torch.float64}.items():
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, "triton")
    assert {name: actual[f"d{name}"].dtype for name in ("x", "weight", "bias", "initial_state")} == {
        "x": torch.float16,
        "weight": torch.bfloat16,
        "bias": torch.float64,
        "initial_state": torch.float32,
    }
    assert_close(actual, results(in_float64(case), "reference"), forward=1e-3, gradients=1e-2)


def test_inputs_need_not_be_contiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch)
    case = conv_case(seqlen=5)
    both = torch.cat([case["x"], case["x"]], dim=2).detach()
    odd = case | {
        "x": both[..., 20:].requires_grad_(),
        "weight": case["weight"].detach().mT.contiguous().mT.requires_grad_(),
        "initial_state": case["initial_state"].detach().mT.contiguous().mT.requires_grad_(),
    }
    assert_close(results(odd, "triton"), results(case, "triton"), forward=0.0, gradients=0.0)


def test_rows_beyond_two_to_the_31(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of x that lie 2^30 apart in memory: a third row is out of the reach of 32 bits."""
    use_tiling(monkeypatch, rows=2, steps=2)
    memory = torch.empty(2 * 2**30 + 8, dtype=torch.float16)  # touched at three places only
    x = memory.as_strided((1, 3, 8), (0, 2**30, 1))
    x.copy_(torch.randn(3, 8))
    case = conv_case(batch=1, seqlen=3, d_model=8, dtype=torch.float32, initial_state=False)
    here = case | {"x": x.contiguous().requires_grad_()}
    there = case | {"x": x.requires_grad_()}
    assert_close(results(there, "triton"), results(here, "triton"), forward=0.0, gradients=0.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_reach_what_they_should(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch)
    case = conv_case(dtype=torch.float32, seqlen=14)
    with torch.no_grad():
        case["x"][0, 7, 1] = bad
        case["weight"][1] = 1.0
    y = causal_conv1d(**case, backend="triton")
    assert not y[0, 7:11, 1].isfinite().any()
    assert y[0, :7].isfinite().all()
    assert y[0, 11:].isfinite().all()
    assert y[1].isfinite().all()
    (dx,) = torch.autograd.grad(y.sum(), case["x"])
    assert not dx[0, 4:11, 1].isfinite().any()
    dx[0, 4:11, 1] = 0.0
    assert dx.isfinite().all()


def test_bad_offsets_are_refused() -> None:
    case = conv_case(batch=1, initial_state=False) | {"cu_seqlens": torch.tensor([0, 12, 9, 21])}
    with pytest.raises(ValueError, match=r"cu_seqlens must rise from 0 to L = 21"):
        causal_conv1d(**case, backend="triton")


def test_operators_keep_the_dispatcher_rules() -> None:
    case = conv_case(batch=1, seqlen=3, d_model=2, taps=2, offsets=[0, 1, 3])
    causal_conv1d(**case, backend="triton")  # defines the operators
    names = ("x", "weight", "bias", "activation", "initial_state", "cu_seqlens")
    inputs = [case[name] for name in names]
    torch.library.opcheck(torch.ops.seqsuite.causal_conv1d_forward.default, ("triton", *inputs))
    plain = [x.detach() if isinstance(x, torch.Tensor) else x for x in inputs]
    arguments = ("triton", torch.ones_like(plain[0]), *plain)
    torch.library.opcheck(torch.ops.seqsuite.causal_conv1d_backward.default, arguments)


def test_differentiating_twice_is_refused() -> None:
    case = conv_case(batch=1, seqlen=2, d_model=1)
    loss = causal_conv1d(**case, backend="triton").sum()
    (gradient,) = torch.autograd.grad(loss, case["x"], create_graph=True)
    with pytest.raises(NotImplementedError, match="the triton backend has no second derivatives"):
        gradient.sum().backward()

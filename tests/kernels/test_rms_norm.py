"""The norm: the reference against the formula, the fused kernels against the reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqsuite.kernels import backends, rms_norm
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.rms_norm import cpu as cpu_backend

from .norm_cases import Case, every_form, norm_case, results
from .scan_cases import assert_close, in_float64

every_backend = pytest.mark.parametrize("backend", ["reference", "cpu"])


@every_backend
@every_form
def test_is_the_formula(form: str, backend: str) -> None:
    case = norm_case(3, 20, form=form)
    arrays = {name: t.detach().numpy() for name, t in case.items() if isinstance(t, Tensor)}
    v = arrays["x"]
    if form == "gate":
        v = v * arrays["gate"] / (1 + np.exp(-arrays["gate"]))
    if form == "residual":
        v = v + arrays["residual"]
    expected = v / np.sqrt((v**2).mean(-1, keepdims=True) + 1e-5) * arrays["weight"]
    actual = rms_norm(**case, backend=backend)
    y, total = actual if form == "residual" else (actual, None)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12)
    if total is not None:
        np.testing.assert_allclose(total.detach().numpy(), v, rtol=1e-15)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(8, 70)),
    form=st.sampled_from(["alone", "gate", "residual"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_cpu_equals_the_reference(shape: tuple[int, ...], form: str, dtype: torch.dtype) -> None:
    case = norm_case(*shape, form=form, dtype=dtype)
    tolerances = (1e-6, 1e-5) if dtype == torch.float32 else (1e-13, 1e-12)
    assert_close(results(case, "cpu"), results(in_float64(case), "reference"), *tolerances)


@every_form
@pytest.mark.parametrize("width", [1, 2, 3])
def test_narrow_rows(width: int, form: str) -> None:
    """Where dx nearly vanishes, since a narrow row changes little by being stretched."""
    case = norm_case(20, width, form=form)
    expected = results(case, "reference")
    for name, value in results(case, "cpu").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


@every_form
def test_many_rows(form: str) -> None:
    """More rows than tasks, and some left over; the weight's gradient sums over all of them."""
    case = norm_case(5003, 16, form=form, dtype=torch.float32)
    assert_close(results(case, "cpu"), results(in_float64(case), "reference"), 1e-6, 1e-5)


@every_form
def test_on_a_processor_without_wide_vectors(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    portable = Target(cpu="", features="", vector_bytes=16, vector_registers=16, has_avx512=False)
    monkeypatch.setattr(cpu_backend, "host_target", lambda: portable)
    kernels = (cpu_backend.forward_kernel, cpu_backend.backward_kernel)
    for kernel in kernels:
        kernel.cache_clear()
    try:
        case = norm_case(2, 7, 19, form=form)
        assert_close(results(case, "cpu"), results(case, "reference"), 1e-13, 1e-12)
    finally:
        for kernel in kernels:
            kernel.cache_clear()


@every_backend
@every_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype, form: str, backend: str) -> None:
    case = norm_case(2, 9, 33, form=form, dtype=torch.float32)
    narrow = {
        name: t.detach().to(dtype).requires_grad_()
        for name, t in case.items()
        if name not in ("weight", "eps")
    }
    actual = results(case | narrow, backend)
    assert actual["y0"].dtype == actual["dx"].dtype == dtype
    assert actual["dweight"].dtype == torch.float32
    assert_close(actual, results(in_float64(case | narrow), "reference"), forward=1e-2, gradients=1e-2)


@every_form
def test_gradcheck(form: str) -> None:
    case = norm_case(3, 5, form=form)
    names = [name for name, value in case.items() if isinstance(value, Tensor)]

    def norm(*tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return rms_norm(**(case | dict(zip(names, tensors, strict=True))), backend="cpu")

    assert torch.autograd.gradcheck(norm, [case[name] for name in names])


def test_the_sum_alone_passes_its_gradient_on() -> None:
    case = norm_case(3, 5, form="residual")
    _, total = rms_norm(**case, backend="cpu")
    dx, dresidual = torch.autograd.grad(total.sum(), [case["x"], case["residual"]])
    assert torch.equal(dx, torch.ones_like(dx))
    assert torch.equal(dresidual, torch.ones_like(dx))


def test_halves_of_a_projection() -> None:
    """Slices are read where they are; transposed inputs are copied."""
    case = norm_case(2, 9, 20, form="gate")
    both = torch.cat([case["gate"], case["x"]], dim=2).detach()
    odd = case | {"gate": both[..., :20].requires_grad_(), "x": both[..., 20:].requires_grad_()}
    assert_close(results(odd, "cpu"), results(case, "cpu"), forward=0.0, gradients=0.0)
    turned = case | {"x": case["x"].detach().mT.contiguous().mT.requires_grad_()}
    assert_close(results(turned, "cpu"), results(case, "cpu"), forward=0.0, gradients=0.0)


def test_the_number_of_threads_changes_no_bit() -> None:
    case = norm_case(3000, 200, dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        runs = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            runs.append(results(case, "cpu"))
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(run[name], runs[0][name]) for name in runs[0])


@every_form
def test_operators_keep_the_dispatcher_rules(form: str) -> None:
    case = norm_case(2, 3, 5, form=form)
    rms_norm(**case, backend="cpu")  # defines the operators
    inputs = [case["x"], case["weight"], case["eps"], case.get("gate"), case.get("residual")]
    torch.library.opcheck(torch.ops.seqsuite.rms_norm_forward.default, ("cpu", *inputs))
    plain = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    dtotal = None if form != "residual" else torch.ones_like(plain[0])
    arguments = ("cpu", torch.ones_like(plain[0]), dtotal, *plain)
    torch.library.opcheck(torch.ops.seqsuite.rms_norm_backward.default, arguments)


def test_compiles_as_one_graph() -> None:
    case = norm_case(2, 3, 5)

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight, 1e-5, backend="cpu").square().sum()

    leaves = [case["x"], case["weight"]]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    actual = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*leaves), leaves)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


def test_says_which_backends_are_available() -> None:
    assert [status.name for status in backends()["rms_norm"]] == ["triton", "cpu", "reference"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": torch.zeros(4)}, ValueError, r"x must have shape \(..., D\) = \(2, 3, 4\)"),
        ({"gate": torch.zeros(2, 5)}, ValueError, r"gate must have shape of x = \(2, 3, 5\)"),
        ({"x": None}, TypeError, r"x must be a tensor of shape \(..., D\), not NoneType"),
        ({"x": torch.zeros(2, 3, 5).long()}, TypeError, r"x must be floating, not torch.int64"),
        ({"weight": torch.zeros(5, device="meta")}, ValueError, r"weight is on meta, but x is on cpu"),
        ({"gate": torch.zeros(2, 3, 5), "residual": torch.zeros(2, 3, 5)}, ValueError, "not both"),
        ({"backend": "abacus"}, ValueError, r"backend must be one of triton, cpu, reference, not 'abacus'"),
    ],
)
def test_bad_arguments_are_named(change: Case, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rms_norm(**(norm_case(2, 3, 5) | change))

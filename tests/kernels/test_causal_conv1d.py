"""The short convolution: the reference against sums written out, the fused kernels against the reference."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqsuite.kernels import backends, causal_conv1d
from seqsuite.kernels.causal_conv1d import cpu as cpu_backend
from seqsuite.kernels.llvm.target import Target

from .conv_cases import Case, added_up, case_arguments, conv_case, results
from .scan_cases import assert_close, in_float64

every_backend = pytest.mark.parametrize("backend", ["reference", "cpu"])
FLOAT32_FORWARD, FLOAT32_GRADIENTS = 1e-6, 1e-5


def written_out(case: Case) -> Tensor:
    """Each output as a sum of products, one after the other, over the history and the inputs."""
    x = torch.cat([case["initial_state"], case["x"]], dim=1).detach()
    taps = case["weight"].shape[1]
    y = torch.zeros_like(case["x"])
    for t in range(y.shape[1]):
        for k in range(taps):
            y[:, t] += case["weight"].detach()[:, k] * x[:, t + k]
    y += case["bias"].detach()
    return y / (1 + torch.exp(-y))


@every_backend
def test_is_the_sum_written_out(backend: str) -> None:
    case = conv_case()
    y = causal_conv1d(**case, backend=backend)
    torch.testing.assert_close(y.detach(), written_out(case), rtol=1e-12, atol=1e-12)


NEARLY_ZERO = {"seed": 3, "batch": 1, "seqlen": 78, "d_model": 1, "taps": 3, "dtype": torch.float32}
"""The bias has a gradient of -0.018, a sum of 78 numbers."""


@settings(max_examples=40, deadline=None)
@example(arguments=NEARLY_ZERO | {"offsets": [0, 78]}, with_final_state=False)
@given(arguments=case_arguments(most_rows=80, most_channels=70), with_final_state=st.booleans())
def test_cpu_equals_the_reference(arguments: dict[str, Any], with_final_state: bool) -> None:
    case = conv_case(**arguments)
    expected = results(in_float64(case), "reference", with_final_state)
    actual = results(case, "cpu", with_final_state)
    tolerances = (FLOAT32_FORWARD, FLOAT32_GRADIENTS) if case["x"].dtype == torch.float32 else (1e-12, 1e-12)
    assert_close(actual, expected, *tolerances, added_up(in_float64(case)))


def test_more_taps_than_positions_in_a_chunk() -> None:
    case = conv_case(seqlen=70, taps=40)
    assert_close(results(case, "cpu"), results(case, "reference"), forward=1e-12, gradients=1e-12)


def test_many_channels() -> None:
    """More channels than one task takes."""
    case = conv_case(batch=1, d_model=1100, dtype=torch.float32)
    expected = results(in_float64(case), "reference")
    assert_close(results(case, "cpu"), expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


def test_on_a_processor_without_wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    portable = Target(cpu="", features="", vector_bytes=16, vector_registers=16, has_avx512=False)
    monkeypatch.setattr(cpu_backend, "host_target", lambda: portable)
    kernels = (cpu_backend.forward_kernel, cpu_backend.backward_kernel)
    for kernel in kernels:
        kernel.cache_clear()
    try:
        case = conv_case()
        assert_close(results(case, "cpu"), results(case, "reference"), forward=1e-12, gradients=1e-12)
    finally:
        for kernel in kernels:
            kernel.cache_clear()


@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs(dtype: torch.dtype, backend: str) -> None:
    """The inputs and what has their form are rounded, the filters and the arithmetic are not."""
    case = conv_case(dtype=torch.float32)
    for name in ("x", "initial_state"):
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, backend)
    assert actual["y"].dtype == actual["dx"].dtype == actual["final_state"].dtype == dtype
    assert actual["dweight"].dtype == torch.float32
    assert_close(actual, results(in_float64(case), "reference"), forward=1e-2, gradients=1e-2)


@every_backend
def test_under_autocast(backend: str) -> None:
    """A projection's bfloat16 beside float32 filters and a float32 history."""
    case = conv_case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        x = case["x"] @ torch.eye(20)
        y, final_state = causal_conv1d(**(case | {"x": x}), return_final_state=True, backend=backend)
    assert x.dtype == y.dtype == final_state.dtype == torch.bfloat16
    expected = causal_conv1d(**in_float64(case | {"x": x}), backend="reference")
    torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=1e-2)


@every_backend
@pytest.mark.parametrize("cut", [1, 2, 32, 40])
def test_chunks_equal_the_whole(cut: int, backend: str) -> None:
    case = conv_case(seqlen=41)
    y, final_state = causal_conv1d(**case, return_final_state=True, backend=backend)
    pieces, state = [], case["initial_state"]
    for part in (case["x"][:, :cut], case["x"][:, cut:]):
        arguments = case | {"x": part, "initial_state": state}
        piece, state = causal_conv1d(**arguments, return_final_state=True, backend=backend)
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final_state, rtol=0, atol=0)


@every_backend
def test_packed_sequences_equal_separate_ones(backend: str) -> None:
    offsets = [0, 3, 3, 20, 21]
    case = conv_case(batch=1, offsets=offsets)
    y, final_states = causal_conv1d(**case, return_final_state=True, backend=backend)
    for s, (start, end) in enumerate(pairwise(offsets)):
        alone = {
            "x": case["x"][:, start:end],
            "initial_state": case["initial_state"][s : s + 1],
            "cu_seqlens": None,
        }
        y_alone, final_state = causal_conv1d(**(case | alone), return_final_state=True, backend=backend)
        torch.testing.assert_close(y[:, start:end], y_alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(final_states[s : s + 1], final_state, rtol=0, atol=0)


@every_backend
@pytest.mark.parametrize("options", [{}, {"bias": False, "activation": False, "initial_state": False}])
def test_gradcheck(backend: str, options: dict[str, bool]) -> None:
    case = conv_case(batch=1, seqlen=6, d_model=2, taps=3, **options)
    names = [name for name, value in case.items() if isinstance(value, Tensor)]

    def convolve(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        arguments = case | dict(zip(names, tensors, strict=True))
        return causal_conv1d(**arguments, return_final_state=True, backend=backend)

    assert torch.autograd.gradcheck(convolve, [case[name] for name in names])


@every_backend
def test_half_of_a_projection_is_read_where_it_is(backend: str) -> None:
    case = conv_case()
    both = torch.cat([case["x"], case["x"]], dim=2).detach()
    parts = [(case | {"x": x.requires_grad_()}) for x in (both[..., 20:], both[..., 20:].contiguous())]
    assert_close(results(parts[0], backend), results(parts[1], backend), forward=0.0, gradients=1e-15)


def test_a_transposed_input() -> None:
    case = conv_case()
    turned = case | {"x": case["x"].detach().mT.contiguous().mT.requires_grad_()}
    assert_close(results(turned, "cpu"), results(case, "cpu"), forward=0.0, gradients=0.0)


@every_backend
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_reach_the_output(bad: float, backend: str) -> None:
    case = conv_case(dtype=torch.float32)
    with torch.no_grad():
        case["x"][0, 7, 1] = bad
        case["weight"][1] = 1.0
    y = causal_conv1d(**case, backend=backend)
    assert not y[0, 7:11, 1].isfinite().any()
    assert y[1].isfinite().all()
    assert y[0, :7].isfinite().all()


def test_the_number_of_threads_changes_no_bit() -> None:
    case = conv_case(batch=3, seqlen=1000, d_model=200, dtype=torch.float32)
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


@pytest.mark.parametrize("case", [conv_case(), conv_case(batch=1, offsets=[0, 4, 21], bias=False)])
def test_operators_keep_the_dispatcher_rules(case: Case) -> None:
    names = ("x", "weight", "bias", "activation", "initial_state", "cu_seqlens")
    inputs = [case[name] for name in names]
    causal_conv1d(**case, backend="cpu")  # defines the operators
    torch.library.opcheck(torch.ops.seqsuite.causal_conv1d_forward.default, ("cpu", *inputs))
    plain = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    arguments = ("cpu", torch.ones_like(plain[0]), *plain)
    torch.library.opcheck(torch.ops.seqsuite.causal_conv1d_backward.default, arguments)


def test_compiles_as_one_graph() -> None:
    case = conv_case()
    leaves = [t for t in case.values() if isinstance(t, Tensor) and t.requires_grad]

    def loss(case: Case) -> Tensor:
        y, final_state = causal_conv1d(**case, return_final_state=True)
        return y.square().sum() + final_state.sum()

    expected = torch.autograd.grad(loss(case), leaves)
    actual = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(case), leaves)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


def test_differentiating_twice_is_refused() -> None:
    case = conv_case()
    loss = causal_conv1d(**case, backend="cpu").sum()
    (gradient,) = torch.autograd.grad(loss, case["x"], create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='reference'"):
        gradient.sum().backward()


def test_says_which_backends_are_available() -> None:
    assert [status.name for status in backends()["causal_conv1d"]] == ["triton", "cpu", "reference"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 20)}, ValueError, r"x must have shape \(B, L, D\).*\(2, 20\)"),
        ({"weight": torch.zeros(19, 4)}, ValueError, r"weight must have shape \(D, K\) = \(20, 4\), not"),
        (
            {"weight": torch.zeros(20)},
            ValueError,
            r"weight must have shape \(D, K\) = \(20, K\), not \(20,\)",
        ),
        ({"activation": "silu"}, TypeError, r"activation must be True or False \(SiLU or none\), not 'silu'"),
        ({"weight": torch.zeros(20, 0)}, ValueError, r"D and K must be positive"),
        ({"bias": torch.zeros(4)}, ValueError, r"bias must have shape \(D,\) = \(20,\)"),
        ({"initial_state": torch.zeros(2, 4, 20)}, ValueError, r"initial_state must have .*\(2, 3, 20\)"),
        ({"x": torch.zeros(2, 21, 20, dtype=torch.long)}, TypeError, r"x must be floating, not torch.int64"),
        ({"bias": torch.zeros(20, device="meta")}, ValueError, r"bias is on meta, but x is on cpu"),
        ({"cu_seqlens": torch.tensor([0, 21])}, ValueError, r"x must have shape \(1, L, D\)"),
        ({"backend": "abacus"}, ValueError, r"backend must be one of triton, cpu, reference, not 'abacus'"),
    ],
)
def test_bad_arguments_are_named(change: Case, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        causal_conv1d(**(conv_case() | change))


@every_backend
@pytest.mark.parametrize("offsets", [[0, 5, 20], [1, 21], [0, 12, 9, 21]])
def test_bad_offsets_are_refused(offsets: list[int], backend: str) -> None:
    case = conv_case(batch=1, initial_state=False) | {"cu_seqlens": torch.tensor(offsets)}
    with pytest.raises(ValueError, match=r"cu_seqlens must rise from 0 to L = 21"):
        causal_conv1d(**case, backend=backend)

"""The scan's meaning: the same for every backend."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.kernels import backends, selective_scan

from .scan_cases import Case, assert_close, in_float64, like, real_and_complex, results, scan_case

BACKENDS = ["reference", "cpu"]
FLOAT32_FORWARD, FLOAT32_GRADIENTS = 2e-6, 1e-5
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def closed_form(case: Case) -> np.ndarray:
    """All pairs of positions at once: each input u_s, s ≤ t, reaches y_t through exp(A Σ_{s < r ≤ t} Δ_r)."""
    u, A, B, C, D, z, h = (case[name].detach().numpy() for name in [*"uABCDz", "initial_state"])
    delta = np.logaddexp(0, (case["delta"] + case["delta_bias"]).detach().numpy())
    time = np.cumsum(delta, axis=1)
    past = np.tri(u.shape[1], dtype=bool)[None, :, :, None]
    elapsed = np.where(past, time[:, :, None] - time[:, None], np.inf)
    decay = np.exp(elapsed[..., None] * A)  # (B, t, s, D, N), 0 where s > t
    y = np.einsum("btn,btsdn,bsd,bsn->btd", C, decay, delta * u, B)
    y += np.einsum("btn,btdn,bdn->btd", C, np.exp(time[..., None] * A), h)
    if np.iscomplexobj(y):
        y = 2 * y.real
    return (y + D * u) * z / (1 + np.exp(-z))


@every_backend
@real_and_complex
def test_equals_the_closed_form(complex: str, backend: str) -> None:
    case = scan_case(complex=complex)
    y = selective_scan(**case, backend=backend).detach().numpy()
    np.testing.assert_allclose(y, closed_form(case), rtol=1e-11, atol=1e-12)


@every_backend
def test_complex_states_are_half_of_conjugate_pairs(backend: str) -> None:
    """Twice the real part: the same as scanning both of each pair and adding them."""
    case = scan_case(initial_state=False, skip=False, gate=False)
    A = torch.complex(
        case["A"], torch.linspace(0, 3, case["A"].numel(), dtype=torch.float64).view_as(case["A"])
    )
    B, C = (case[name] * torch.tensor(1 - 0.5j) for name in "BC")
    half = selective_scan(**(case | {"A": A, "B": B, "C": C}), backend=backend)
    pairs = {
        "A": torch.cat([A, A.conj()], 1),
        "B": torch.cat([B, B.conj()], 2),
        "C": torch.cat([C, C.conj()], 2),
    }
    whole = selective_scan(**(case | pairs), backend=backend)
    # the scan over both of each pair doubles once more
    torch.testing.assert_close(2 * half, whole, rtol=1e-12, atol=1e-12)


@st.composite
def case_arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw shapes that are no multiples of anything, groups, packed boundaries and options.

    The smallest shapes are for float64: a single number may be a sum that cancels, and then no float32 is
    accurate relative to it.
    """
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    smallest = 1 if dtype == torch.float64 else 8
    groups = draw(st.sampled_from([None, 1, 2, 3]))
    width = draw(st.integers(smallest, 40))
    packed = draw(st.booleans())
    seqlen = draw(st.integers(smallest, 80))
    inner = sorted(draw(st.lists(st.integers(0, seqlen), max_size=4))) if packed else []
    options = draw(st.sampled_from([(True,) * 5, (False,) * 5, (True, False, True, False, True)]))
    names = ("gate", "skip", "bias", "softplus", "initial_state")
    return dict(
        seed=draw(st.integers(0, 1000)),
        batch=1 if packed else draw(st.integers(1, 3)),
        seqlen=seqlen,
        d_model=width * (groups or 1),
        d_state=draw(st.sampled_from([1, 5])),
        groups=groups,
        dtype=dtype,
        offsets=[0, *inner, seqlen] if packed else None,
        constant=draw(st.sampled_from(["", "", "B", "C", "BC"])),
        complex=draw(st.sampled_from(["", "A", "AB", "ABC"])),
        **dict(zip(names, options, strict=True)),
    )


@settings(max_examples=40, deadline=None)
@given(arguments=case_arguments(), with_final_state=st.booleans())
def test_cpu_equals_the_reference(arguments: dict[str, Any], with_final_state: bool) -> None:
    case = scan_case(**arguments)
    expected = results(in_float64(case), "reference", with_final_state)
    actual = results(case, "cpu", with_final_state)
    if case["u"].dtype == torch.float64:
        assert_close(actual, expected, forward=1e-12, gradients=1e-12)
    else:
        assert_close(actual, expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


@pytest.mark.parametrize("d_state", [16, 17, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@real_and_complex
def test_cpu_with_more_states_than_registers(complex: str, d_state: int, dtype: torch.dtype) -> None:
    case = scan_case(d_state=d_state, dtype=dtype, complex=complex)
    tolerance = (1e-12, 1e-12) if dtype == torch.float64 else (FLOAT32_FORWARD, FLOAT32_GRADIENTS)
    assert_close(results(case, "cpu"), results(in_float64(case), "reference"), *tolerance)


@real_and_complex
def test_cpu_with_many_channels(complex: str) -> None:
    """More channels than one task takes."""
    case = scan_case(batch=1, seqlen=18, d_model=1100, dtype=torch.float32, complex=complex)
    expected = results(in_float64(case), "reference")
    assert_close(results(case, "cpu"), expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


@every_backend
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@real_and_complex
def test_half_precision_inputs(complex: str, dtype: torch.dtype, backend: str) -> None:
    """Only the inputs and results (B, L, D) are rounded: parameters and states stay in float32."""
    case = scan_case(dtype=torch.float32, complex=complex)
    for name in ("u", "delta", "z"):
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, backend)
    assert actual["y"].dtype == actual["ddelta"].dtype == dtype
    assert actual["final_state"].dtype == like(actual["final_state"], torch.float32)
    assert_close(actual, results(in_float64(case), "reference"), forward=1e-2, gradients=1e-2)


@pytest.mark.parametrize("complex", ["", "AC"], ids=["real", "complex"])
def test_mixed_dtypes(complex: str) -> None:
    case = scan_case(dtype=torch.float32, complex=complex)
    case |= {"u": case["u"].bfloat16(), "B": case["B"].bfloat16(), "z": case["z"].double()}
    actual = selective_scan(**case, backend="cpu")
    torch.testing.assert_close(actual, selective_scan(**case, backend="reference"), rtol=1e-2, atol=1e-2)


@every_backend
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 50.0])
@real_and_complex
def test_step_sizes_from_tiny_to_huge(complex: str, scale: float, backend: str) -> None:
    case = scan_case(seqlen=200, d_state=5, softplus=False, bias=False, dtype=torch.float32, complex=complex)
    case["delta"] = (case["delta"].detach() * (4 * scale)).requires_grad_()
    actual, expected = results(case, backend), results(in_float64(case), "reference")
    assert_close(actual, expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


@real_and_complex
def test_long_sequence_stays_accurate(complex: str) -> None:
    case = scan_case(batch=1, seqlen=65_536, d_model=16, d_state=4, dtype=torch.float32, complex=complex)
    actual, expected = results(case, "cpu"), results(in_float64(case), "cpu")
    assert_close(actual, expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


@every_backend
@pytest.mark.parametrize("cut", [1, 32, 40])
@real_and_complex
def test_chunks_equal_the_whole(complex: str, cut: int, backend: str) -> None:
    case = scan_case(seqlen=41, complex=complex)
    y, final_state = selective_scan(**case, return_final_state=True, backend=backend)
    pieces, state = [], case["initial_state"]
    for part in (slice(None, cut), slice(cut, None)):
        piece = {name: case[name][:, part] for name in ("u", "delta", "B", "C", "z")}
        y_part, state = selective_scan(
            **(case | piece | {"initial_state": state}), return_final_state=True, backend=backend
        )
        pieces.append(y_part)
    torch.testing.assert_close(torch.cat(pieces, 1), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final_state, rtol=1e-12, atol=1e-12)


@every_backend
@pytest.mark.parametrize("constant", ["B", "C", "BC"])
@real_and_complex
def test_a_constant_is_the_same_at_every_position(complex: str, constant: str, backend: str) -> None:
    """B or C (D, N) is short for a group a channel whose values never change."""
    case = scan_case(constant=constant, groups=2, complex=complex)
    spread = {
        name: case[name].expand(2, 21, 20, 4) if name in constant else case[name].repeat_interleave(10, 2)
        for name in "BC"
    }
    actual = selective_scan(**case, return_final_state=True, backend=backend)
    expected = selective_scan(**(case | spread), return_final_state=True, backend=backend)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@every_backend
@real_and_complex
def test_packed_sequences_equal_separate_ones(complex: str, backend: str) -> None:
    offsets = [0, 3, 3, 20, 21]
    case = scan_case(batch=1, offsets=offsets, complex=complex)
    y, final_states = selective_scan(**case, return_final_state=True, backend=backend)
    for s, (start, end) in enumerate(pairwise(offsets)):
        alone = {name: case[name][:, start:end] for name in ("u", "delta", "B", "C", "z")}
        alone |= {"initial_state": case["initial_state"][s : s + 1], "cu_seqlens": None}
        y_alone, final_state = selective_scan(**(case | alone), return_final_state=True, backend=backend)
        torch.testing.assert_close(y[:, start:end], y_alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(final_states[s : s + 1], final_state, rtol=1e-12, atol=1e-12)


@every_backend
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gate": False},
        {"skip": False},
        {"bias": False},
        {"softplus": False},
        {"initial_state": False},
        {"groups": 2},
        {"offsets": [0, 2, 2, 6]},
        {"constant": "B"},
        {"constant": "C", "groups": 2, "offsets": [0, 2, 2, 6]},
        {"constant": "BC"},
        {"complex": "ABC"},
        {"complex": "A", "gate": False, "skip": False, "bias": False, "softplus": False},
        {"complex": "AC", "constant": "C", "groups": 2, "offsets": [0, 2, 2, 6]},
    ],
    ids=lambda options: "-".join(options) or "all",
)
def test_gradcheck(options: dict[str, Any], backend: str) -> None:
    case = scan_case(batch=1, seqlen=6, d_model=2, d_state=2, **options)
    names = [name for name, value in case.items() if isinstance(value, torch.Tensor)]

    def scan(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        arguments = case | dict(zip(names, tensors, strict=True))
        return selective_scan(**arguments, return_final_state=True, backend=backend)

    assert torch.autograd.gradcheck(scan, [case[name] for name in names])


@every_backend
def test_strides_of_single_positions_mean_nothing(backend: str) -> None:
    """PyTorch calls a tensor contiguous whatever the stride of a dimension of size 1, as views leave it."""
    case = in_float64(scan_case(batch=3, seqlen=1))
    odd = {**case, "u": torch.empty_strided((3, 1, 20), (20, 7, 1), dtype=torch.float64).copy_(case["u"])}
    assert odd["u"].is_contiguous()
    torch.testing.assert_close(
        selective_scan(**odd, backend=backend), selective_scan(**case, backend="reference")
    )


@every_backend
@real_and_complex
def test_inputs_need_not_be_contiguous(complex: str, backend: str) -> None:
    """Slices of a projection, a transposed input, an expanded one."""
    case = scan_case(d_state=4, complex=complex)
    both = torch.cat([case["z"], case["u"]], dim=2)
    odd = {
        "z": both[..., :20],
        "u": both[..., 20:],
        "delta": case["delta"].mT.contiguous().mT,
        "B": torch.cat([case["C"], case["B"]], dim=2)[..., 4:],
        "C": case["C"][:1].expand(2, -1, -1),
    }
    plain = {name: tensor.contiguous() for name, tensor in odd.items()}
    actual = results(detached(case | odd), backend)
    assert_close(actual, results(detached(case | plain), backend), forward=1e-12, gradients=1e-12)


def detached(case: Case) -> Case:
    """Return the case with every tensor a leaf, its strides kept."""
    return {
        name: t.detach().requires_grad_() if isinstance(t, torch.Tensor) else t for name, t in case.items()
    }


@every_backend
def test_conjugates_may_be_lazy(backend: str) -> None:
    """PyTorch conjugates by a mark on the numbers as they were, of inputs and of gradients."""
    case = scan_case(complex="ABC")
    names = ("A", "B", "C", "initial_state")
    lazy = {name: case[name].detach().conj() for name in names}
    assert all(t.is_conj() for t in lazy.values())
    plain = {name: t.resolve_conj() for name, t in lazy.items()}

    def gradients(numbers: Case) -> list[torch.Tensor]:
        inputs = detached(case | numbers)
        y, state = selective_scan(**inputs, return_final_state=True, backend=backend)
        loss = y.sum() + (state.conj() * torch.arange(1, 5) * (1 + 2j)).imag.sum()
        return list(torch.autograd.grad(loss, [inputs[name] for name in ("u", "delta", *names)]))

    torch.testing.assert_close(gradients(lazy), gradients(plain), rtol=1e-12, atol=1e-12)


@every_backend
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["u", "delta", "B", "C", "z"])
def test_bad_numbers_reach_the_output(name: str, bad: float, backend: str) -> None:
    case = scan_case(dtype=torch.float32)
    with torch.no_grad():
        case[name][0, 7, 1] = bad
    y = selective_scan(**case, backend=backend)
    assert not y[0, 7].isfinite().all()
    assert y[1].isfinite().all()
    assert y[0, :7].isfinite().all()


@every_backend
def test_a_growing_state_overflows_to_infinity(backend: str) -> None:
    case = scan_case(dtype=torch.float32, bias=False, softplus=False, gate=False)
    case |= {"A": case["A"].abs() + 10, "delta": torch.ones_like(case["delta"])}
    y = selective_scan(**case, backend=backend)
    assert not y[:, -1].isfinite().any()


@every_backend
@real_and_complex
def test_minus_infinity_masks_a_position(complex: str, backend: str) -> None:
    """A raw step size of -∞ is a step of 0: the state stays as it is."""
    case = scan_case(seqlen=1, complex=complex)
    case["delta"] = torch.full_like(case["delta"], -torch.inf)
    _, state = selective_scan(**case, return_final_state=True, backend=backend)
    torch.testing.assert_close(state, case["initial_state"])


def test_every_backend_says_whether_it_is_available() -> None:
    statuses = backends()["selective_scan"]
    assert [status.name for status in statuses] == ["triton", "cpu", "reference"]
    assert all(status.reason for status in statuses)
    assert statuses[-1].available


def test_backend_can_be_forced_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    case = scan_case(seqlen=3)
    monkeypatch.setenv("SEQSUITE_BACKEND", "reference")
    forced = selective_scan(**case)
    torch.testing.assert_close(forced, selective_scan(**case, backend="reference"), rtol=0, atol=0)
    monkeypatch.setenv("SEQSUITE_BACKEND", "abacus")
    with pytest.raises(
        ValueError, match="SEQSUITE_BACKEND must be one of triton, cpu, reference, not 'abacus'"
    ):
        selective_scan(**case)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"u": torch.zeros(2, 20)}, ValueError, r"u must have shape \(B, L, D\).*\(2, 20\)"),
        ({"delta": torch.zeros(2, 21, 19)}, ValueError, r"delta must have shape .*\(2, 21, 20\)"),
        ({"A": torch.zeros(19, 4)}, ValueError, r"A must have shape \(D, N\) = \(20, 4\), not \(19, 4\)"),
        (
            {"B": torch.zeros(21, 4)},
            ValueError,
            r"B must have shape .* or \(D, N\) = \(20, 4\), not \(21, 4\)",
        ),
        ({"delta_softplus": 1}, TypeError, "delta_softplus must be True or False, not 1"),
        (
            {"B": torch.zeros(2, 21, 5)},
            ValueError,
            r"B must have shape .* or \(B, L, N\) = \(2, 21, 4\), not \(2, 21, 5\)",
        ),
        ({"C": torch.zeros(19, 4)}, ValueError, r"C must have shape .* or \(D, N\) = \(20, 4\)"),
        ({"C": torch.zeros(2, 21, 2, 4)}, ValueError, r"C must have the shape of B"),
        ({"B": torch.zeros(2, 21, 3, 4)}, ValueError, r"B has 3 groups.* must divide D = 20"),
        ({"D": torch.zeros(4)}, ValueError, r"D must have shape \(D,\) = \(20,\)"),
        ({"z": torch.zeros(2, 20, 20)}, ValueError, r"z must have shape"),
        ({"initial_state": torch.zeros(2, 4, 20)}, ValueError, r"initial_state must have shape \(B, D, N\)"),
        ({"u": torch.zeros(2, 21, 20, dtype=torch.long)}, TypeError, r"u must be floating, not torch.int64"),
        ({"delta": None}, TypeError, r"delta must be a tensor"),
        ({"D": torch.zeros(20, device="meta")}, ValueError, r"D is on meta, but u is on cpu"),
        ({"cu_seqlens": torch.tensor([0, 21])}, ValueError, r"u must have shape \(1, L, D\)"),
        ({"cu_seqlens": torch.tensor([0.0, 21.0])}, TypeError, r"cu_seqlens must be an int32 or int64"),
        ({"backend": "abacus"}, ValueError, r"backend must be one of triton, cpu, reference, not 'abacus'"),
    ],
)
def test_bad_arguments_are_named(change: Case, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        selective_scan(**(scan_case() | change))


@every_backend
@pytest.mark.parametrize("offsets", [[0, 5, 20], [1, 21], [0, 12, 9, 21]])
def test_bad_offsets_are_refused(offsets: list[int], backend: str) -> None:
    case = scan_case(batch=1, initial_state=False) | {"cu_seqlens": torch.tensor(offsets)}
    with pytest.raises(ValueError, match=r"cu_seqlens must rise from 0 to L = 21"):
        selective_scan(**case, backend=backend)

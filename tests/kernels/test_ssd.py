"""The scan of Mamba-2: recurrence and chunks against the sum over pairs written out."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from seqsuite.kernels import ssd, ssd_state_update

Case = dict[str, torch.Tensor]


def make_case(
    batch: int = 2, seqlen: int = 13, heads: int = 4, groups: int = 2, width: int = 3, d_state: int = 5
) -> Case:
    torch.manual_seed(seqlen)
    case = {
        "x": torch.randn(batch, seqlen, heads, width),
        "dt": torch.randn(batch, seqlen, heads),
        "A": -torch.rand(heads) * 3,
        "B": torch.randn(batch, seqlen, groups, d_state),
        "C": torch.randn(batch, seqlen, groups, d_state),
        "D": torch.randn(heads),
        "dt_bias": torch.randn(heads),
        "initial_state": torch.randn(batch, heads, width, d_state),
    }
    return {name: tensor.double().requires_grad_() for name, tensor in case.items()}


def written_out(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
    initial_state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over all pairs of positions j ≤ i: C_i · B_j times the decays between, times Δ_j x_j."""
    _, length, heads, _ = x.shape
    delta = torch.log1p(torch.exp(dt + dt_bias))
    ys, final = [], []
    for h in range(heads):
        group = h * B.shape[2] // heads
        b, c = B[:, :, group], C[:, :, group]
        rows = []
        for i in range(length + 1):  # the last round is the state after the sequence
            upto = min(i, length - 1)

            def decay(after: int, upto: int = upto, h: int = h) -> torch.Tensor:
                return torch.exp(A[h] * delta[:, after + 1 : upto + 1, h].sum(1))

            state = decay(-1)[:, None, None] * initial_state[:, h]
            for j in range(upto + 1):
                fed = (delta[:, j, h] * decay(j))[:, None] * x[:, j, h]
                state = state + fed[:, :, None] * b[:, j, None, :]
            rows.append((state * c[:, upto, None, :]).sum(-1) + D[h] * x[:, upto, h])
        ys.append(torch.stack(rows[:length], dim=1))
        final.append(state)
    return torch.stack(ys, dim=2), torch.stack(final, dim=1)


def gradients(case: Case, outputs: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    return list(torch.autograd.grad(outputs, list(case.values()), weights))


@pytest.mark.parametrize("seqlen", [1, 2, 7, 13])
@pytest.mark.parametrize(
    ("backend", "chunk"), [("reference", 1), ("chunked", 1), ("chunked", 4), ("chunked", 64), ("cpu", 1)]
)
def test_both_forms_are_the_sum_over_pairs(backend, chunk, seqlen):
    case = make_case(seqlen=seqlen)
    expected = written_out(**case)
    outputs = ssd(**case, dt_softplus=True, return_final_state=True, backend=backend, chunk_size=chunk)
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(gradients(case, outputs), gradients(case, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 17), st.sampled_from([1, 2, 4]))
def test_chunks_equal_the_recurrence(seqlen, chunk, groups):
    case = make_case(seqlen=seqlen, groups=groups)
    expected = ssd(**case, return_final_state=True, backend="reference")
    outputs = ssd(**case, return_final_state=True, chunk_size=chunk)
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", ["reference", "chunked", "cpu"])
def test_packed_sequences_are_separate(backend):
    case = {name: t.detach() for name, t in make_case(batch=1, seqlen=20).items()}
    offsets = [0, 0, 3, 20]
    states = torch.randn(3, *case["initial_state"].shape[1:], dtype=torch.float64)
    case["initial_state"] = states
    options = {"return_final_state": True, "backend": backend, "chunk_size": 4, "dt_softplus": True}
    y, final = ssd(**case, cu_seqlens=torch.tensor(offsets), **options)
    along_sequence = ("x", "dt", "B", "C")
    for s, (start, end) in enumerate(pairwise(offsets)):
        alone = {k: t[:, start:end] if k in along_sequence else t for k, t in case.items()}
        y_s, final_s = ssd(**alone | {"initial_state": states[s : s + 1]}, **options)
        torch.testing.assert_close(y[:, start:end], y_s)
        torch.testing.assert_close(final[s : s + 1], final_s)


def test_single_steps_equal_the_scan():
    case = make_case()
    y, final = ssd(**case, dt_softplus=True, return_final_state=True)
    state = case.pop("initial_state")
    for t in range(y.shape[1]):
        now = {k: v[:, t] if k in ("x", "dt", "B", "C") else v for k, v in case.items()}
        y_t, state = ssd_state_update(state, **now, dt_softplus=True)
        torch.testing.assert_close(y_t, y[:, t])
    torch.testing.assert_close(state, final)


def test_gradcheck():
    case = make_case(batch=1, seqlen=5, heads=2, groups=1, width=2, d_state=2)
    names = list(case)
    assert gradcheck(
        lambda *values: ssd(
            **dict(zip(names, values, strict=True)), dt_softplus=True, return_final_state=True, chunk_size=2
        ),
        tuple(case.values()),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_fast_forgetting_and_low_precision_stay_finite_and_right(dtype):
    """Decays of e^-200 a position underflow to zero: nothing may become 0 · ∞."""
    case = {name: t.detach() for name, t in make_case(seqlen=50).items()}
    case["A"] = torch.tensor([-200.0, -1e-3, 0.0, -10.0], dtype=torch.float64)
    case = {name: t.to(dtype) if name in ("x", "dt", "B", "C") else t.float() for name, t in case.items()}
    leaves = {name: t.clone().requires_grad_() for name, t in case.items()}
    y, state = ssd(**leaves, dt_softplus=True, return_final_state=True, chunk_size=16)
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    expected, _ = ssd(**{k: t.double() for k, t in case.items()}, dt_softplus=True, return_final_state=True)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert (y.double() - expected).norm() < tolerance * expected.norm()
    for gradient in torch.autograd.grad(y.float().sum() + state.sum(), list(leaves.values())):
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 13, 12)}, ValueError, r"x must have shape \(B, L, H, P\), not \(2, 13, 12\)"),
        ({"dt": torch.zeros(2, 13, 3)}, ValueError, r"dt must have shape \(B, L, H\) = \(2, 13, 4\)"),
        ({"A": torch.zeros(3)}, ValueError, r"A must have shape \(H,\) = \(4,\)"),
        ({"B": torch.zeros(2, 13, 3, 5), "C": torch.zeros(2, 13, 3, 5)}, ValueError, "G must divide H = 4"),
        ({"C": torch.zeros(2, 13, 2, 6)}, ValueError, "C must have shape"),
        ({"D": torch.zeros(4, dtype=torch.int64)}, TypeError, "D must be floating"),
        ({"initial_state": torch.zeros(1, 4, 3, 5)}, ValueError, "initial_state must have shape"),
        ({"backend": "triton"}, ValueError, "backend must be one of fla, cpu, chunked, reference"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        ssd(**make_case() | change)

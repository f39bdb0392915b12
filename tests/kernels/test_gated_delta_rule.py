"""The gated delta rule: recurrence and chunks against products of its matrices, outputs and gradients."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from seqsuite.kernels import gated_delta_rule, gated_delta_update

Case = dict[str, torch.Tensor]


def make_case(batch: int = 2, seqlen: int = 11, heads: int = 2, width: int = 4, values: int = 3) -> Case:
    torch.manual_seed(seqlen)
    case = {
        "q": torch.randn(batch, seqlen, heads, width),
        "k": F.normalize(torch.randn(batch, seqlen, heads, width), dim=-1),
        "v": torch.randn(batch, seqlen, heads, values),
        "log_decay": -torch.rand(batch, seqlen, heads),
        "beta": torch.rand(batch, seqlen, heads),
        "initial_state": torch.randn(batch, heads, values, width),
    }
    return {name: tensor.double().requires_grad_() for name, tensor in case.items()}


def written_out(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    log_decay: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """S_t = S_{t−1} α_t (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ with matrices, a sequence and a head at a time."""
    ys, finals = [], []
    for b in range(v.shape[0]):
        for h in range(v.shape[2]):
            S, rows = initial_state[b, h], []
            for t in range(v.shape[1]):
                key, rate = k[b, t, h], beta[b, t, h]
                keep = torch.eye(len(key)).double() - rate * torch.outer(key, key)
                S = S @ (log_decay[b, t, h].exp() * keep) + rate * torch.outer(v[b, t, h], key)
                rows.append(S @ q[b, t, h])
            ys.append(torch.stack(rows))
            finals.append(S)
    shape = (v.shape[0], v.shape[2])
    y = torch.stack(ys).unflatten(0, shape).transpose(1, 2)
    return y, torch.stack(finals).unflatten(0, shape)


def gradients(case: Case, outputs: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    return list(torch.autograd.grad(outputs, list(case.values()), weights))


@pytest.mark.parametrize("seqlen", [1, 2, 11])
@pytest.mark.parametrize(
    ("backend", "chunk"), [("reference", 1), ("chunked", 1), ("chunked", 4), ("chunked", 64)]
)
def test_both_forms_are_the_matrix_product(backend, chunk, seqlen):
    case = make_case(seqlen=seqlen)
    expected = written_out(**case)
    outputs = gated_delta_rule(**case, backend=backend, chunk_size=chunk)
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(gradients(case, outputs), gradients(case, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 17))
def test_chunks_equal_the_recurrence(seqlen, chunk):
    case = make_case(seqlen=seqlen)
    outputs = gated_delta_rule(**case, chunk_size=chunk)
    for ours, theirs in zip(outputs, gated_delta_rule(**case, backend="reference"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_packed_sequences_are_separate_and_single_steps_equal_the_scan():
    case = {name: t.detach() for name, t in make_case(batch=1, seqlen=20).items()}
    states = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    offsets = [0, 0, 3, 20]
    y, final = gated_delta_rule(
        **case | {"initial_state": states}, cu_seqlens=torch.tensor(offsets), chunk_size=4
    )
    del case["initial_state"]
    for s, (start, end) in enumerate(pairwise(offsets)):
        state = states[s : s + 1]
        for t in range(start, end):
            y_t, state = gated_delta_update(state, **{name: value[:, t] for name, value in case.items()})
            torch.testing.assert_close(y_t, y[:, t])
        torch.testing.assert_close(state, final[s : s + 1])


def test_gradcheck():
    case = make_case(batch=1, seqlen=5, heads=1, width=2, values=2)
    names = list(case)
    assert gradcheck(
        lambda *values: gated_delta_rule(**dict(zip(names, values, strict=True)), chunk_size=2),
        tuple(case.values()),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_fast_forgetting_and_low_precision_stay_finite_and_right(dtype):
    case = {name: t.detach() for name, t in make_case(seqlen=50).items()}
    case["log_decay"] = case["log_decay"] * torch.tensor([300.0, 1e-3])
    case = {name: t.to(dtype) if name in "qkv" else t.float() for name, t in case.items()}
    leaves = {name: t.clone().requires_grad_() for name, t in case.items()}
    y, state = gated_delta_rule(**leaves, chunk_size=16)
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    expected, _ = gated_delta_rule(**{k: t.double() for k, t in case.items()})
    assert (y.double() - expected).norm() < (1e-5 if dtype == torch.float32 else 1e-2) * expected.norm()
    for gradient in torch.autograd.grad(y.float().sum() + state.sum(), list(leaves.values())):
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": torch.zeros(2, 11, 8)}, ValueError, r"k must have shape \(B, L, H, N\)"),
        (
            {"q": torch.zeros(2, 11, 2, 5)},
            ValueError,
            r"q must have shape \(B, L, H, N\) = \(2, 11, 2, 4\), not",
        ),
        ({"beta": torch.zeros(2, 11)}, ValueError, "beta must have shape"),
        ({"v": torch.zeros(2, 11, 2, 3, dtype=torch.int64)}, TypeError, "v must be floating"),
        ({"initial_state": torch.zeros(1, 2, 3, 4)}, ValueError, "initial_state must have shape"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        gated_delta_rule(**make_case() | change)

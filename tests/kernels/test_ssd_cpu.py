"""The fused kernels of Mamba-2's scan against the selective scan, of which it is a special case."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seqsuite.kernels import selective_scan
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.ssd import cpu as cpu_backend
from seqsuite.kernels.ssd.cpu import ssd_cpu

from .scan_cases import assert_close, in_float64

Case = dict[str, Any]

FLOAT32_FORWARD, FLOAT32_GRADIENTS = 2e-6, 1e-5


with_and_without_skip = pytest.mark.parametrize("skip", [True, False])


def ssd_case(
    batch: int = 2,
    seqlen: int = 45,
    heads: int = 4,
    width: int = 20,
    groups: int = 2,
    d_state: int = 6,
    dtype: torch.dtype = torch.float64,
    decay: float = 1.0,
) -> Case:
    """Return arguments of ``ssd_cpu``, each with a gradient to come."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    case = {
        "x": normal(batch, seqlen, heads, width),
        "delta": normal(batch, seqlen, heads).abs(),
        "a": -decay * normal(batch, seqlen, heads).abs(),
        "B": normal(batch, seqlen, groups, d_state),
        "C": normal(batch, seqlen, groups, d_state),
        "D": normal(heads),
        "state": normal(batch, heads, width, d_state),
    }
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in case.items()}


def by_selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, B: Tensor, C: Tensor, D: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Step -a with A = -1 and the input Δ x / -a, which the step makes Δ x again, for each channel."""
    heads, width = x.shape[2:]
    per_group = heads // B.shape[2]
    u, steps = x * delta.unsqueeze(-1), -a.repeat_interleave(width, dim=2)
    A = -torch.ones(heads * width, B.shape[3], dtype=x.dtype)
    B, C = (t.repeat_interleave(per_group, dim=2) for t in (B, C))
    y, final_state = selective_scan(
        u.flatten(2) / steps,
        steps,
        A,
        B,
        C,
        initial_state=state.flatten(1, 2),
        return_final_state=True,
        backend="reference",
    )
    y = y.view(x.shape) if D is None else y.view(x.shape) + D.unsqueeze(-1) * x
    return y, final_state.view(-1, heads, width, B.shape[3])


def results(case: Case, scan: Any) -> dict[str, Tensor]:
    """Return the outputs and the gradient of each input of a fixed random sum over them."""
    outputs = scan(**case)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    gradients = torch.autograd.grad(outputs, list(case.values()), weights)
    y, final_state = (t.detach() for t in outputs)
    by_input = {f"d{name}": gradient for name, gradient in zip(case, gradients, strict=True)}
    return {"y": y, "final_state": final_state, **by_input}


def assert_right(case: Case) -> None:
    expected = results(in_float64(case), by_selective_scan)
    in_single = case["x"].dtype == torch.float32
    tolerances = (FLOAT32_FORWARD, FLOAT32_GRADIENTS) if in_single else (1e-12, 1e-12)
    assert_close(results(case, ssd_cpu), expected, *tolerances)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 3),
    seqlen=st.integers(1, 80),
    groups=st.integers(1, 2),
    heads_per_group=st.integers(1, 3),
    width=st.integers(1, 40),
    compiled_for=st.sampled_from(
        [(1, torch.float64), (5, torch.float32), (18, torch.float32), (18, torch.float64)]
    ),
)
def test_equals_the_selective_scan(
    groups: int, heads_per_group: int, compiled_for: tuple[int, torch.dtype], **sizes: Any
) -> None:
    d_state, dtype = compiled_for
    assert_right(
        ssd_case(groups=groups, heads=groups * heads_per_group, d_state=d_state, dtype=dtype, **sizes)
    )


@pytest.mark.parametrize("decay", [1e-6, 1e-3, 50.0])
def test_decays_from_none_to_all(decay: float) -> None:
    assert_right(ssd_case(seqlen=100, decay=decay, dtype=torch.float32))


def test_steady_forgetting() -> None:
    """e^-4 a position: within a chunk the decay passes through all numbers that float32 has, and below."""
    case = ssd_case(seqlen=70, dtype=torch.float32)
    assert_right(case | {"a": torch.full_like(case["a"], -4.0).requires_grad_()})


def test_without_a_skip() -> None:
    case = ssd_case(width=7, dtype=torch.float32)
    del case["D"]
    expected = results(in_float64(case), partial(by_selective_scan, D=None))
    assert_close(results(case, partial(ssd_cpu, D=None)), expected, FLOAT32_FORWARD, FLOAT32_GRADIENTS)


def test_sizes_of_mamba_2() -> None:
    assert_right(ssd_case(batch=1, seqlen=70, heads=2, groups=1, width=64, d_state=64, dtype=torch.float32))


def test_no_decay() -> None:
    """a = 0, linear attention: a plain sum over the past."""
    case = ssd_case(batch=1, heads=1, groups=1) | {"a": torch.zeros(1, 45, 1, dtype=torch.float64)}
    case |= {"state": torch.zeros_like(case["state"]), "D": None}
    y, _ = ssd_cpu(**case)
    scores = torch.einsum("btgn,bsgn->bts", case["C"], case["B"]).tril()
    torch.testing.assert_close(
        y,
        torch.einsum("bts,bshp->bthp", scores, case["x"] * case["delta"].unsqueeze(-1)),
        rtol=1e-12,
        atol=1e-12,
    )


def test_no_positions() -> None:
    case = ssd_case(seqlen=0)
    actual = results(case, ssd_cpu)
    assert actual["y"].shape == (2, 0, 4, 20)
    assert torch.equal(actual["final_state"], case["state"])
    assert actual["dstate"].isfinite().all()


def test_chunks_equal_the_whole() -> None:
    case = ssd_case()
    y, final_state = ssd_cpu(**case)
    pieces, state = [], case["state"]
    for part in (slice(None, 13), slice(13, None)):
        piece, state = ssd_cpu(
            *(case[name][:, part] for name in ("x", "delta", "a", "B", "C")), case["D"], state
        )
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final_state, rtol=1e-12, atol=1e-12)


def test_on_a_processor_without_wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    portable = Target(cpu="", features="", vector_bytes=16, vector_registers=16, has_avx512=False)
    monkeypatch.setattr(cpu_backend, "host_target", lambda: portable)
    kernels = (cpu_backend.forward_kernel, cpu_backend.backward_kernel)
    for kernel in kernels:
        kernel.cache_clear()
    try:
        assert_right(ssd_case(d_state=9, dtype=torch.float32))
    finally:
        for kernel in kernels:
            kernel.cache_clear()


def test_gradcheck() -> None:
    case = ssd_case(batch=1, seqlen=5, heads=2, groups=1, width=2, d_state=2)
    assert torch.autograd.gradcheck(lambda *inputs: ssd_cpu(*inputs), list(case.values()))


def test_bad_numbers_reach_the_output() -> None:
    case = ssd_case(dtype=torch.float32)
    with torch.no_grad():
        case["B"][0, 7, 1, 2] = float("nan")
    y, _ = ssd_cpu(**case)
    assert y[0, 7:, 2:].isnan().all()
    assert y[0, :, :2].isfinite().all()
    assert y[0, :7].isfinite().all()
    assert y[1].isfinite().all()


def test_a_bad_input_stays_in_its_channel_and_out_of_the_past() -> None:
    case = ssd_case(dtype=torch.float32)
    with torch.no_grad():
        case["x"][0, 7, 3, 2] = float("nan")
    y, _ = ssd_cpu(**case)
    bad = torch.zeros_like(y, dtype=torch.bool)
    bad[0, 7:, 3, 2] = True
    assert torch.equal(y.isnan(), bad)


def test_the_number_of_threads_changes_no_bit() -> None:
    case = ssd_case(batch=3, seqlen=200, width=64, d_state=32, dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        runs = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            runs.append(results(case, ssd_cpu))
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(run[name], runs[0][name]) for name in runs[0])


def test_packed_sequences_are_separate() -> None:
    """Values and gradients, of sequences without positions, short ones, and some longer than a chunk."""
    offsets = [0, 0, 3, 20, 91, 92]
    case = ssd_case(batch=1, seqlen=offsets[-1])
    case["state"] = ssd_case(batch=5)["state"]

    def separately(**case: Tensor) -> tuple[Tensor, Tensor]:
        along, pieces = ("x", "delta", "a", "B", "C"), []
        for s, (start, end) in enumerate(pairwise(offsets)):
            cut = {name: case[name][:, start:end] for name in along}
            pieces.append(ssd_cpu(**case | cut | {"state": case["state"][s : s + 1]}))
        ys, states = zip(*pieces, strict=True)
        return torch.cat(ys, dim=1), torch.cat(states)

    packed = results(case, partial(ssd_cpu, cu_seqlens=torch.tensor(offsets)))
    assert_close(packed, results(case, separately), forward=1e-14, gradients=1e-13)


@with_and_without_skip
@pytest.mark.parametrize("offsets", [None, [0, 40, 45]])
def test_operators_keep_the_dispatcher_rules(skip: bool, offsets: list[int] | None) -> None:
    case = ssd_case() if offsets is None else ssd_case(batch=1) | {"state": ssd_case()["state"]}
    inputs = [tensor if skip or name != "D" else None for name, tensor in case.items()]
    inputs.append(None if offsets is None else torch.tensor(offsets))
    torch.library.opcheck(torch.ops.seqsuite.ssd_forward.default, (False, *inputs))
    plain = [None if tensor is None else tensor.detach() for tensor in inputs]
    outputs = torch.ops.seqsuite.ssd_forward(True, *plain)
    torch.library.opcheck(torch.ops.seqsuite.ssd_backward.default, (*outputs, *plain))


@with_and_without_skip
def test_compiles_as_one_graph(skip: bool) -> None:
    case = ssd_case()
    D = case.pop("D")
    leaves = [*case.values(), D] if skip else list(case.values())

    def loss(x: Tensor, delta: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor, *D: Tensor) -> Tensor:
        y, final_state = ssd_cpu(x, delta, a, B, C, D[0] if D else None, state)
        return y.square().sum() + final_state.sum()

    expected = torch.autograd.grad(loss(*leaves), leaves)
    actual = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*leaves), leaves)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)

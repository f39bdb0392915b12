"""The Triton scan's kernels, run in the interpreter, against the reference in float64."""

import random
from itertools import pairwise
from typing import Any

import pytest
import torch

from seqsuite.kernels import selective_scan
from seqsuite.kernels.gpu import launch as gpu_launch
from seqsuite.kernels.selective_scan import triton_launch

from ..scan_cases import Case, assert_close, in_float64, results, scan_case

OPTIONS = ("gate", "skip", "bias", "softplus", "initial_state")


def use_tiling(
    monkeypatch: pytest.MonkeyPatch,
    *,
    cut: bool,
    chunk: int = 16,
    steps: int = 4,
    launch: Any = triton_launch,
) -> None:
    """Make tiles small enough that a short sequence has several of each."""
    monkeypatch.setattr(launch, "PROGRAMS", 1 << 30 if cut else 1)
    monkeypatch.setattr(launch, "CHUNK", chunk)
    monkeypatch.setattr(launch, "BACKWARD_STEPS", steps)
    monkeypatch.setattr(launch, "RECOMPUTE_STEPS", min(2, steps))
    monkeypatch.setattr(launch, "COMBINE_AHEAD", 2)
    monkeypatch.setattr(launch, "PROGRAMS_PER_MULTIPROCESSOR", 3)
    launch.cut_segments.cache_clear()


def drawn_case(seed: int) -> Case:
    """Draw shapes that are no multiples of anything, options, groups and packed boundaries."""
    draw = random.Random(seed)
    packed = draw.random() < 0.5
    seqlen = draw.randint(1, 36)
    inner = sorted(draw.randint(0, seqlen) for _ in range(draw.randint(0, 3)))
    groups = draw.choice([None, 1, 2])
    return scan_case(
        seed=seed,
        batch=1 if packed else draw.randint(1, 2),
        seqlen=seqlen,
        d_model=draw.choice([1, 7, 20]) * (groups or 1),
        d_state=draw.choice([1, 2, 3]),
        groups=groups,
        offsets=[0, *inner, seqlen] if packed else None,
        constant=draw.choice(["", "", "B", "C", "BC"]),
        **{name: draw.random() < 0.6 for name in OPTIONS},
    )


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_reference(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=seed % 2 == 0, steps=[4, 2, 1][seed % 3])
    case = drawn_case(seed)
    assert_close(results(case, "triton"), results(case, "reference"), forward=1e-12, gradients=1e-12)


def test_as_it_is_tiled_on_a_gpu() -> None:
    """More channels than a block has, 16 states, and the tiles that a GPU gets."""
    case = scan_case(batch=1, seqlen=67, d_model=65, d_state=2, dtype=torch.float32)
    assert_close(results(case, "triton"), results(in_float64(case), "reference"), 2e-6, 1e-5)


def test_without_a_gradient_of_the_final_state(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=True)
    case = scan_case(batch=1, d_model=3, d_state=2, seqlen=33)
    expected = results(case, "reference", with_final_state=False)
    assert_close(results(case, "triton", with_final_state=False), expected, 1e-12, 1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=True)
    case = scan_case(batch=1, d_model=6, d_state=2, dtype=torch.float32)
    for name in ("u", "delta", "z"):
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, "triton")
    assert actual["y"].dtype == actual["ddelta"].dtype == dtype
    assert actual["final_state"].dtype == torch.float32
    assert_close(actual, results(in_float64(case), "reference"), forward=1e-2, gradients=1e-2)


def test_mixed_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=True)
    case = scan_case(batch=1, seqlen=20, d_model=3, d_state=2, dtype=torch.float32)
    for name, dtype in {
        "u": torch.float16,
        "B": torch.bfloat16,
        "z": torch.float64,
        "A": torch.float64,
    }.items():
        case[name] = case[name].detach().to(dtype).requires_grad_()
    actual = results(case, "triton")
    assert {name: actual[f"d{name}"].dtype for name in "uABz"} == {name: case[name].dtype for name in "uABz"}
    assert_close(actual, results(in_float64(case), "reference"), forward=2e-3, gradients=2e-2)


def test_more_states_than_a_tile_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 states take the places of 64, and leave 16 channels to a block."""
    use_tiling(monkeypatch, cut=False, steps=2)
    case = scan_case(batch=1, seqlen=4, d_model=20, d_state=40)
    assert_close(results(case, "triton"), results(case, "reference"), forward=1e-12, gradients=1e-12)


@pytest.mark.parametrize(("scale", "cut"), [(1e-6, True), (1e-3, False), (50.0, True)])
def test_step_sizes_from_tiny_to_huge(scale: float, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=cut)
    case = scan_case(
        batch=1, seqlen=35, d_model=5, d_state=2, softplus=False, bias=False, dtype=torch.float32
    )
    case["delta"] = (case["delta"].detach() * (4 * scale)).requires_grad_()
    assert_close(results(case, "triton"), results(in_float64(case), "reference"), 2e-6, 1e-5)


def test_softplus_keeps_its_digits() -> None:
    """Δ and its slope for raw steps from -60 to 60, also where log(1 + exp(x)) has no digits left."""
    raw = torch.linspace(-60, 60, 16).view(1, 1, 16).requires_grad_()
    one = torch.ones(1, 1, 1)
    u, A = one.expand(1, 1, 16), -one[0].expand(16, 1)
    y = selective_scan(u, raw, A, one, one, delta_softplus=True, backend="triton")  # Δ u
    (slope,) = torch.autograd.grad(y.sum(), raw)
    x = raw.detach().double()
    rounding = 6e-8 * (4 + x.abs())  # of x log2 e, before exp2
    assert ((y.double() / torch.nn.functional.softplus(x, threshold=100) - 1).abs() < rounding).all()
    assert ((slope.double() / x.sigmoid() - 1).abs() < rounding).all()


def test_packed_sequences_equal_separate_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=True)
    offsets = [0, 3, 3, 20, 21, 54]
    case = scan_case(batch=1, seqlen=54, d_model=4, d_state=2, offsets=offsets)
    y, final_states = selective_scan(**case, return_final_state=True, backend="triton")
    for s, (start, end) in enumerate(pairwise(offsets)):
        alone = {name: case[name][:, start:end] for name in ("u", "delta", "B", "C", "z")}
        alone |= {"initial_state": case["initial_state"][s : s + 1], "cu_seqlens": None}
        y_alone, final_state = selective_scan(**(case | alone), return_final_state=True, backend="triton")
        torch.testing.assert_close(y[:, start:end], y_alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(final_states[s : s + 1], final_state, rtol=1e-12, atol=1e-12)


def test_segments_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    case = scan_case(seqlen=35, batch=1, d_model=3, d_state=2)
    launched: dict[bool, list[str]] = {}
    outcome: dict[bool, dict[str, torch.Tensor]] = {}
    for cut in (False, True):
        use_tiling(monkeypatch, cut=cut)
        names = launched.setdefault(cut, [])
        launch = gpu_launch.launch

        def record(kernel: Any, *rest: Any, names: list[str] = names, launch: Any = launch) -> None:
            names.append(kernel.fn.__name__)
            launch(kernel, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(gpu_launch, "launch", record)
            outcome[cut] = results(case, "triton")
    assert launched[False] == ["output_kernel", "gradient_kernel", "sum_kernel"]
    assert len(launched[True]) == 3 + 4
    assert_close(outcome[True], outcome[False], forward=1e-13, gradients=1e-13)


def test_repeats_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where other programs take the segments."""
    case = scan_case(seqlen=35, batch=1, d_model=17, d_state=1, dtype=torch.float32)
    use_tiling(monkeypatch, cut=True)
    first = results(case, "triton")
    monkeypatch.setattr(triton_launch, "PROGRAMS_PER_MULTIPROCESSOR", 2)
    second = results(case, "triton")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_empty_sequence_keeps_its_state() -> None:
    case = scan_case(batch=2, seqlen=0, d_model=3, d_state=2)
    y, final_state = selective_scan(**case, return_final_state=True, backend="triton")
    assert y.shape == (2, 0, 3)
    (gradient,) = torch.autograd.grad(final_state.sum(), case["initial_state"])
    torch.testing.assert_close(final_state, case["initial_state"], rtol=0, atol=0)
    torch.testing.assert_close(gradient, torch.ones_like(gradient), rtol=0, atol=0)


def test_rows_beyond_two_to_the_31() -> None:
    """Numbers of u that lie 2^30 apart in memory: a third row is out of the reach of 32 bits."""
    memory = torch.empty(2 * 2**30 + 8, dtype=torch.float16)  # touched at three places only
    u = memory.as_strided((1, 3, 8), (0, 2**30, 1))
    u.copy_(torch.randn(3, 8))
    case = scan_case(batch=1, seqlen=3, d_model=8, d_state=2, dtype=torch.float32) | {"u": u}
    y = selective_scan(**case, backend="triton")
    torch.testing.assert_close(y, selective_scan(**case, backend="reference"), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["u", "delta", "B", "C", "z"])
def test_bad_numbers_reach_the_output(name: str, bad: float) -> None:
    case = scan_case(seqlen=5, d_model=3, d_state=2, dtype=torch.float32)
    with torch.no_grad():
        case[name][0, 2, 1] = bad
        y = selective_scan(**case, backend="triton")
    assert not y[0, 2].isfinite().all()
    assert y[1].isfinite().all()
    assert y[0, :2].isfinite().all()


def test_minus_infinity_masks_a_position() -> None:
    case = scan_case(seqlen=1, d_model=3, d_state=2)
    case["delta"] = torch.full_like(case["delta"], -torch.inf)
    _, state = selective_scan(**case, return_final_state=True, backend="triton")
    torch.testing.assert_close(state, case["initial_state"])


def test_inputs_need_not_be_contiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiling(monkeypatch, cut=False)
    case = scan_case(seqlen=6, d_model=4, d_state=2)
    both = torch.cat([case["z"], case["u"]], dim=2).detach().requires_grad_()
    odd = case | {
        "z": both[..., :4],
        "u": both[..., 4:],
        "delta": case["delta"].detach().mT.contiguous().mT.requires_grad_(),
        "C": case["C"][:1].detach().expand(2, -1, -1).requires_grad_(),
    }
    outcome = [
        torch.autograd.grad(selective_scan(**odd, backend=name).sum(), [both, odd["delta"], odd["C"]])
        for name in ("triton", "reference")
    ]
    for actual, expected in zip(*outcome, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_bad_offsets_are_refused() -> None:
    case = scan_case(batch=1, initial_state=False) | {"cu_seqlens": torch.tensor([0, 12, 9, 21])}
    with pytest.raises(ValueError, match=r"cu_seqlens must rise from 0 to L = 21"):
        selective_scan(**case, backend="triton")


@pytest.mark.parametrize("offsets", [None, [0, 2, 3]])
def test_operators_keep_the_dispatcher_rules(offsets: list[int] | None) -> None:
    case = scan_case(
        batch=1, seqlen=2 if offsets is None else 3, d_model=1, d_state=1, groups=1, offsets=offsets
    )
    selective_scan(**case, backend="triton")  # defines the operators
    names = (
        "u",
        "delta",
        "A",
        "B",
        "C",
        "D",
        "z",
        "delta_bias",
        "delta_softplus",
        "initial_state",
        "cu_seqlens",
    )
    forward = torch.ops.seqsuite.selective_scan_forward.default
    torch.library.opcheck(forward, ("triton", False, *(case[name] for name in names)))
    arguments = [x.detach() if isinstance(x, torch.Tensor) else x for x in (case[name] for name in names)]
    outputs = forward("triton", True, *arguments)
    backward = torch.ops.seqsuite.selective_scan_backward.default
    torch.library.opcheck(backward, ("triton", *outputs, *arguments))


def test_compiles_as_one_graph() -> None:
    case = scan_case(batch=1, seqlen=3, d_model=2, d_state=1)
    leaves = [t for t in case.values() if isinstance(t, torch.Tensor) and t.requires_grad]

    def loss(case: Case) -> torch.Tensor:
        y, final_state = selective_scan(**case, return_final_state=True, backend="triton")
        return y.square().sum() + final_state.sum()

    expected = torch.autograd.grad(loss(case), leaves)
    actual = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(case), leaves)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


def test_differentiating_twice_is_refused() -> None:
    case = scan_case(batch=1, seqlen=2, d_model=1, d_state=1)
    loss = selective_scan(**case, backend="triton").sum()
    (gradient,) = torch.autograd.grad(loss, case["u"], create_graph=True)
    with pytest.raises(NotImplementedError, match="the triton backend has no second derivatives"):
        gradient.sum().backward()

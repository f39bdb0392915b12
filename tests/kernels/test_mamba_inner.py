"""The inside of a Mamba block in one operation against the operations it is made of."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import InnerStates, ScanWeights, backends, mamba_inner
from seqsuite.kernels.selective_scan.cpu_layout import CHUNK

from .scan_cases import assert_close, in_float64

Case = dict[str, Any]

SCAN = tuple(f"scan.{name}" for name in ScanWeights._fields)
STATES = tuple(f"initial_states.{name}" for name in InnerStates._fields)
every_backend = pytest.mark.parametrize("backend", ["reference", "cpu"])


def inner_case(
    batch: int = 2,
    seqlen: int = 37,
    d_inner: int = 20,
    d_state: int = 4,
    rank: int = 3,
    d_out: int = 10,
    dtype: torch.dtype = torch.float64,
    conv_bias: bool = True,
    offsets: list[int] | None = None,
    states: bool = True,
) -> Case:
    """Return arguments of :func:`run`, every floating one with a gradient to come."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    sequences = batch if offsets is None else len(offsets) - 1
    case = {
        "xz": normal(batch, seqlen, 2 * d_inner),
        "conv_weight": normal(d_inner, 4) / 2,
        "conv_bias": normal(d_inner) if conv_bias else None,
        "scan.x_proj": normal(rank + 2 * d_state, d_inner) / d_inner**0.5,
        "scan.dt_proj": normal(d_inner, rank) / rank**0.5,
        "scan.dt_bias": normal(d_inner),
        "scan.A": -normal(d_inner, d_state).abs() - 0.05,
        "scan.D": normal(d_inner),
        "out_proj": normal(d_out, d_inner) / d_inner**0.5,
        "initial_states.conv": normal(sequences, 3, d_inner) if states else None,
        "initial_states.scan": normal(sequences, d_inner, d_state) if states else None,
    }
    tensors = {name: None if t is None else t.to(dtype).requires_grad_() for name, t in case.items()}
    return tensors | {"cu_seqlens": None if offsets is None else torch.tensor(offsets)}


def run(case: Case, backend: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and the final states."""
    others = {name: value for name, value in case.items() if name not in SCAN + STATES}
    scan = ScanWeights(*(case[name] for name in SCAN))
    given = [case[name] for name in STATES]
    states = None if given[0] is None else InnerStates(*given)
    out, after = mamba_inner(
        **others, scan=scan, initial_states=states, return_final_states=True, backend=backend
    )
    return out, *after


def results(case: Case, backend: str, outputs: tuple[str, ...] = ("y", "conv", "scan")) -> dict[str, Tensor]:
    """Return the outputs and the gradient of each input of a fixed random sum over those named."""
    computed = dict(zip(("y", "conv", "scan"), run(case, backend), strict=True))
    generator = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(t.shape, generator=generator).to(t.dtype) for name, t in computed.items()}
    inputs = {name: t for name, t in case.items() if isinstance(t, Tensor) and t.requires_grad}
    gradients = torch.autograd.grad(
        [computed[name] for name in outputs],
        list(inputs.values()),
        [weights[name] for name in outputs],
        materialize_grads=True,
    )
    found = {name: t.detach() for name, t in computed.items()}
    return found | {f"d{name}": g for name, g in zip(inputs, gradients, strict=True)}


CASES = [
    inner_case(),
    inner_case(seqlen=1),
    inner_case(seqlen=100, d_inner=70, d_state=16, rank=1),
    inner_case(conv_bias=False),
    inner_case(batch=1, offsets=[0, 3, 3, 36, 37]),
    inner_case(states=False),
    inner_case(batch=1, offsets=[0, 3, 3, 36, 37], states=False),
]


@pytest.mark.parametrize("case", CASES)
def test_cpu_equals_the_composition(case: Case) -> None:
    assert_close(results(case, "cpu"), results(case, "reference"), forward=1e-12, gradients=1e-12)


def test_gradients_of_some_outputs_only() -> None:
    case = inner_case()
    actual, expected = (results(case, backend, ("y",)) for backend in ("cpu", "reference"))
    assert_close(actual, expected, forward=1e-12, gradients=1e-12)
    actual, expected = (results(case, backend, ("scan",)) for backend in ("cpu", "reference"))
    for name in ("dscan.D", "dout_proj"):  # which do not reach the state
        assert not actual.pop(name).any()
        assert not expected.pop(name).any()
    assert_close(actual, expected, forward=1e-12, gradients=1e-12)


@every_backend
def test_chunks_equal_the_whole(backend: str) -> None:
    """Values and gradients, the states of one chunk handed on to the next."""
    case = inner_case(seqlen=70)
    pieces, now = [], dict(case)
    for part in (slice(0, 2), slice(2, 41), slice(41, None)):
        out, *states = run(now | {"xz": case["xz"][:, part]}, backend)
        pieces.append(out)
        now |= dict(zip(STATES, states, strict=True))
    chunked, whole = (torch.cat(pieces, dim=1), *states), run(case, backend)
    inputs = [t for t in case.values() if isinstance(t, Tensor)]
    weights = [torch.randn_like(t) for t in whole]
    gradients = (torch.autograd.grad(outputs, inputs, weights) for outputs in (chunked, whole))
    for ours, expected in zip((*chunked, *next(gradients)), (*whole, *next(gradients)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_single_precision() -> None:
    case = inner_case(seqlen=200, d_inner=48, d_state=16, dtype=torch.float32)
    expected = results(in_float64(case), "reference")
    assert_close(results(case, "cpu"), expected, forward=2e-6, gradients=1e-5)


@every_backend
def test_under_autocast(backend: str) -> None:
    """Matrix products in bfloat16 beside float32 parameters; each gradient in its parameter's dtype."""
    case = inner_case(d_inner=48, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        actual = results(case | {"xz": case["xz"].detach().bfloat16().requires_grad_()}, backend)
    narrow = ("y", "conv", "dxz")
    assert all(actual[name].dtype == torch.bfloat16 for name in narrow)
    assert all(g.dtype == torch.float32 for name, g in actual.items() if name not in narrow)
    assert_close(actual, results(in_float64(case), "reference"), forward=2e-2, gradients=4e-2)


def test_gradcheck() -> None:
    case = inner_case(batch=1, seqlen=5, d_inner=3, d_state=2, rank=1, d_out=2)
    names = [name for name, value in case.items() if isinstance(value, Tensor)]

    def inner(*tensors: Tensor) -> tuple[Tensor, ...]:
        return run(case | dict(zip(names, tensors, strict=True)), "cpu")

    assert torch.autograd.gradcheck(inner, [case[name] for name in names])


def test_gradients_of_some_inputs_only() -> None:
    case = inner_case()
    expected = results(case, "cpu", ("y",))
    for name in ("xz", "scan.A", "initial_states.scan"):
        alone = {k: v.detach() if isinstance(v, Tensor) else v for k, v in case.items()}
        alone[name].requires_grad_()
        actual = results(alone, "cpu", ("y",))
        torch.testing.assert_close(actual[f"d{name}"], expected[f"d{name}"], rtol=0, atol=0)


def test_keeps_little_for_the_backward() -> None:
    """The inputs, the projections and the states between chunks: less than two more tensors (B, L, D)."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    case = inner_case(seqlen=128, d_inner=64, d_state=16, rank=4, dtype=torch.float32)
    inputs = {t.untyped_storage().data_ptr() for t in case.values() if t is not None}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(case, "cpu")
    beside_inputs = sum(size for pointer, size in kept.items() if pointer not in inputs)
    projections, states = 2 * 128 * (4 + 2 * 16) * 4, 2 * math.ceil(128 / CHUNK) * 64 * 16 * 4
    assert beside_inputs <= projections + states < 2 * case["xz"].nbytes / 2


def test_operators_keep_the_dispatcher_rules() -> None:
    run(inner_case(), "cpu")  # defines the operators
    case = inner_case()
    forward = torch.ops.seqsuite.mamba_inner_forward.default
    torch.library.opcheck(forward, (False, *case.values()))
    plain = [t if t is None else t.detach() for t in case.values()]
    out, final_state, projected, checkpoints = forward(True, *plain)
    backward = torch.ops.seqsuite.mamba_inner_backward.default
    given = torch.ones_like(out), torch.ones_like(final_state), projected, checkpoints
    torch.library.opcheck(backward, (*given, *plain))


def test_compiles_as_one_graph() -> None:
    case = inner_case()
    leaves = [t for t in case.values() if isinstance(t, Tensor)]

    def loss(case: Case) -> Tensor:
        return sum(t.square().sum() for t in run(case, None))

    expected = torch.autograd.grad(loss(case), leaves)
    actual = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(case), leaves)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


def test_differentiating_twice_is_refused() -> None:
    case = inner_case()
    (gradient,) = torch.autograd.grad(run(case, "cpu")[0].sum(), case["xz"], create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='reference'"):
        gradient.sum().backward()


def test_says_which_backends_are_available() -> None:
    assert [status.name for status in backends()["mamba_inner"]] == ["cpu", "reference"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xz": torch.zeros(2, 20)}, ValueError, r"xz must have shape \(B, L, 2 D\).*\(2, 20\)"),
        ({"xz": torch.zeros(2, 37, 20)}, ValueError, r"xz must have shape .*\(2, 37, 40\)"),
        ({"conv_weight": torch.zeros(19, 4)}, ValueError, r"conv_weight must have shape \(D, K\)"),
        ({"scan.x_proj": torch.zeros(10, 20)}, ValueError, r"scan.x_proj must have .*\(11, 20\)"),
        ({"scan.A": torch.zeros(20, 4).long()}, TypeError, r"scan.A must be floating"),
        ({"out_proj": torch.zeros(10, 19)}, ValueError, r"out_proj must have shape \(M, D\)"),
        ({"initial_states.conv": torch.zeros(2, 4, 20)}, ValueError, r"conv must have .*= \(2, 3, 20\)"),
        ({"initial_states.scan": torch.zeros(1, 20, 4)}, ValueError, r"scan must have shape \(B, D, N\)"),
        ({"scan.D": torch.zeros(20, device="meta")}, ValueError, r"scan.D is on meta, but xz is on cpu"),
        ({"cu_seqlens": torch.tensor([0, 37])}, ValueError, r"xz must have shape \(1, L, D\)"),
    ],
)
def test_bad_arguments_are_named(change: Case, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(inner_case() | change, None)


def test_a_backend_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="backend must be one of cpu, reference, not 'abacus'"):
        run(inner_case(), "abacus")

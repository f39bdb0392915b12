"""Every public operation under PyTorch's transforms: each against the same operation in plain PyTorch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from seqsuite.kernels import (
    InnerStates,
    ScanWeights,
    causal_conv1d,
    gated_delta_rule,
    impulse_response,
    long_conv,
    mamba_inner,
    parallel_scan,
    rms_norm,
    selective_scan,
    selective_state_update,
    ssd,
    ssd_state_update,
)

# PyTorch's forward mode compiles its rules with torch.jit, which it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

B, L, D, N, H, P = 2, 5, 4, 3, 2, 3

Operation = Callable[..., Tensor]


def numbers(*size: int) -> Tensor:
    return torch.randn(*size, generator=GENERATOR, dtype=torch.float64)


GENERATOR = torch.Generator().manual_seed(0)
A = -torch.rand(D, N, generator=GENERATOR, dtype=torch.float64)
KEYS = torch.nn.functional.normalize(numbers(B, L, H, N), dim=-1)
DECAYS = -torch.rand(B, L, H, generator=GENERATOR, dtype=torch.float64)


def flat(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return an operation's results as one tensor."""
    return outputs if isinstance(outputs, Tensor) else torch.cat([t.flatten() for t in outputs])


def scan(backend: str, cu_seqlens: Tensor | None = None) -> Operation:
    def run(u: Tensor, dt: Tensor, z: Tensor, A: Tensor, B: Tensor, C: Tensor, *others: Tensor) -> Tensor:
        D, bias, state = others
        return flat(
            selective_scan(
                *(u, dt, A, B, C, D, z, bias, True, state, cu_seqlens),
                return_final_state=True,
                backend=backend,
            )
        )

    return run


def convolution(backend: str, cu_seqlens: Tensor | None = None) -> Operation:
    return lambda x, weight, bias, state: flat(
        causal_conv1d(
            *(x, weight, bias),
            activation=True,
            initial_state=state,
            cu_seqlens=cu_seqlens,
            return_final_state=True,
            backend=backend,
        )
    )


def duality(backend: str, cu_seqlens: Tensor | None = None) -> Operation:
    return lambda x, dt, A, B, C, D, state: flat(
        ssd(
            *(x, dt, A, B, C, D),
            initial_state=state,
            cu_seqlens=cu_seqlens,
            return_final_state=True,
            chunk_size=4,
            backend=backend,
        )
    )


def inner(backend: str, cu_seqlens: Tensor | None = None) -> Operation:
    def run(xz: Tensor, weight: Tensor, bias: Tensor, out_proj: Tensor, *others: Tensor) -> Tensor:
        *scan, conv_state, scan_state = others
        y, states = mamba_inner(
            *(xz, weight, bias, ScanWeights(*scan), out_proj),
            initial_states=InnerStates(conv_state, scan_state),
            cu_seqlens=cu_seqlens,
            return_final_states=True,
            backend=backend,
        )
        return flat((y, *states))

    return run


def inner_from_zeros(backend: str) -> Operation:
    return lambda xz, weight, bias, out_proj, *scan: mamba_inner(
        xz, weight, bias, ScanWeights(*scan), out_proj, backend=backend
    )


def residual_norm(backend: str) -> Operation:
    return lambda x, weight, residual: flat(rms_norm(x, weight, 1e-5, residual=residual, backend=backend))


def gated_norm(backend: str) -> Operation:
    return lambda x, weight, gate: rms_norm(x, weight, 1e-5, gate=gate, backend=backend)


def delta_rule(backend: Any, cu_seqlens: Tensor | None = None) -> Operation:
    return lambda q, k, v, decay, beta, state: flat(
        gated_delta_rule(
            *(q, k, v, decay, beta),
            initial_state=state,
            cu_seqlens=cu_seqlens,
            chunk_size=4,
            backend=backend,
        )
    )


INPUTS: dict[str, tuple[Tensor, ...]] = {
    "selective_scan": (
        *(numbers(B, L, D), numbers(B, L, D), numbers(B, L, D), A, numbers(B, L, N), numbers(B, L, N)),
        *(numbers(D), numbers(D), numbers(B, D, N)),
    ),
    "causal_conv1d": (numbers(B, L, D), numbers(D, 3), numbers(D), numbers(B, 2, D)),
    "ssd": (
        *(numbers(B, L, H, P), -DECAYS, -torch.ones(H, dtype=torch.float64)),
        *(numbers(B, L, 1, N), numbers(B, L, 1, N), numbers(H), numbers(B, H, P, N)),
    ),
    "mamba_inner": (
        *(numbers(B, L, 2 * D), numbers(D, 3), numbers(D), numbers(2, D), numbers(1 + 2 * N, D)),
        *(numbers(D, 1), numbers(D), A, numbers(D), numbers(B, 2, D), numbers(B, D, N)),
    ),
    "residual_norm": (numbers(B, L, D), numbers(D), numbers(B, L, D)),
    "gated_norm": (numbers(B, L, D), numbers(D), numbers(B, L, D)),
    "gated_delta_rule": (
        *(numbers(B, L, H, N), KEYS, numbers(B, L, H, P), DECAYS, -DECAYS, numbers(B, H, P, N)),
    ),
}
INPUTS["mamba_inner_from_zeros"] = INPUTS["mamba_inner"][:-2]
MAKE: dict[str, Callable[..., Operation]] = {
    "selective_scan": scan,
    "causal_conv1d": convolution,
    "ssd": duality,
    "mamba_inner": inner,
    "mamba_inner_from_zeros": inner_from_zeros,
    "residual_norm": residual_norm,
    "gated_norm": gated_norm,
    "gated_delta_rule": delta_rule,
}
FUSED = [(name, "cpu") for name in MAKE if name != "gated_delta_rule"] + [("ssd", "chunked")]
OURS = [*FUSED, ("gated_delta_rule", "chunked")]

PACKABLE = ("selective_scan", "causal_conv1d", "ssd", "mamba_inner", "gated_delta_rule")

fused = pytest.mark.parametrize(("name", "backend"), FUSED)
ours = pytest.mark.parametrize(("name", "backend"), OURS)


def case(name: str, backend: str) -> tuple[Operation, Operation, tuple[Tensor, ...]]:
    """Return the operation, the same in plain PyTorch, and its arguments."""
    return MAKE[name](backend), MAKE[name]("reference"), INPUTS[name]


def squares(operation: Operation) -> Operation:
    return lambda *inputs: operation(*inputs).square().sum()


def every(inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple(range(len(inputs)))


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@ours
def test_jvp(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    tangents = tuple(map(torch.cos, inputs))
    close(jvp(operation, inputs, tangents), jvp(plain, inputs, tangents))


@ours
@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_dual_numbers(name: str, backend: str, mode: Callable[[], AbstractContextManager[Any]]) -> None:
    """The tangent is there or not just where PyTorch's own operations have one."""
    operation, plain, inputs = case(name, backend)

    def tangent(operation: Operation) -> Tensor | None:
        duals = [forward_ad.make_dual(x, x.cos()) for x in inputs]
        return forward_ad.unpack_dual(operation(*duals)).tangent

    with mode(), forward_ad.dual_level():
        actual, expected = tangent(operation), tangent(plain)
        assert (actual is None) == (expected is None)
        if expected is not None:
            assert expected.abs().max() > 0
            close(actual, expected)


@ours
def test_one_tangent_is_enough(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    for index, one in enumerate(inputs):

        def of_one(operation: Operation, index: int = index) -> Operation:
            return lambda x: operation(*inputs[:index], x, *inputs[index + 1 :])

        close(*(jvp(of_one(run), (one,), (torch.ones_like(one),)) for run in (operation, plain)))


@ours
def test_grad(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    close(*(grad(squares(run), every(inputs))(*inputs) for run in (operation, plain)))
    close(*(vjp(run, *inputs)[1](torch.ones_like(plain(*inputs))) for run in (operation, plain)))


@ours
def test_jacobians(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    expected = jacrev(plain, every(inputs))(*inputs)
    close(jacrev(operation, every(inputs))(*inputs), expected)
    close(jacfwd(operation, every(inputs))(*inputs), expected)


@ours
def test_vmap(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    several = tuple(torch.stack([x, 1.1 * x, 0.9 * x], dim=1) for x in inputs)
    close(*(vmap(run, in_dims=1)(*several) for run in (operation, plain)))


@ours
def test_gradients_of_each_example(name: str, backend: str) -> None:
    operation, plain, inputs = case(name, backend)
    first, *others = inputs
    several = torch.stack([first, 1.1 * first])
    dims = (0, *(None for _ in others))
    close(*(vmap(grad(squares(run), every(inputs)), dims)(several, *others) for run in (operation, plain)))


@ours
def test_batches_of_gradients(name: str, backend: str) -> None:
    """What ``torch.autograd`` vectorises by itself, for Jacobians too."""
    operation, _, inputs = case(name, backend)
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = operation(*leaves)
    weights = torch.stack([torch.ones_like(y), y.detach().cos()])
    one_by_one = [torch.autograd.grad(y, leaves, weight, retain_graph=True) for weight in weights]
    together = torch.autograd.grad(y, leaves, weights, is_grads_batched=True)
    close(together, tuple(map(torch.stack, zip(*one_by_one, strict=True))))


@fused
def test_the_derivative_of_a_tangent(name: str, backend: str) -> None:
    """Reverse over forward mode: tangents are plain PyTorch, which has derivatives of any order."""
    operation, plain, inputs = case(name, backend)
    close(*(jacrev(jacfwd(squares(run)))(*inputs) for run in (operation, plain)))


def differentiate_twice(loss: Operation) -> Operation:
    def run(first: Tensor, *others: Tensor) -> None:
        first = first.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(first, *others), first, create_graph=True)
        gradient.sum().backward()

    return run


@fused
@pytest.mark.parametrize(
    "second", [hessian, lambda loss: grad(lambda *x: grad(loss)(*x).sum()), differentiate_twice]
)
def test_second_derivatives_are_refused(name: str, backend: str, second: Any) -> None:
    operation, _, inputs = case(name, backend)
    with pytest.raises(NotImplementedError, match="has no second derivatives; use backend='reference'"):
        second(squares(operation))(*inputs)


@fused
def test_a_tangent_of_the_gradient_is_refused(name: str, backend: str) -> None:
    operation, _, inputs = case(name, backend)
    first = inputs[0].clone().requires_grad_()
    y = operation(first, *inputs[1:])
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="second derivatives"):
        torch.autograd.grad(y, first, forward_ad.make_dual(torch.ones_like(y), torch.ones_like(y)))


class Marked(Tensor):
    """A subclass that adds nothing."""


@ours
def test_subclasses_of_tensor(name: str, backend: str) -> None:
    operation, _, inputs = case(name, backend)
    y = operation(*(x.as_subclass(Marked) for x in inputs))
    assert isinstance(y, Marked)
    close(y.as_subclass(Tensor), operation(*inputs))


@ours
def test_meta_and_fake_tensors_have_shapes(name: str, backend: str) -> None:
    operation, _, inputs = case(name, backend)
    expected = operation(*inputs)
    with torch._subclasses.FakeTensorMode() as mode:
        y = operation(*(mode.from_tensor(x) for x in inputs))
    assert (y.shape, y.dtype, y.device) == (expected.shape, expected.dtype, expected.device)
    on_meta = MAKE[name]("chunked" if name == "gated_delta_rule" else None)(*(x.to("meta") for x in inputs))
    assert (on_meta.shape, on_meta.dtype, on_meta.is_meta) == (expected.shape, expected.dtype, True)


@pytest.mark.parametrize(("name", "backend"), [case for case in OURS if case[0] in PACKABLE])
def test_packed_sequences(name: str, backend: str) -> None:
    """Of two sequences that go on from states: forward and reverse mode, and each of several."""
    offsets = torch.tensor([0, 3, B * L])
    inputs = tuple(x.reshape(1, B * L, *x.shape[2:]) if x.shape[:2] == (B, L) else x for x in INPUTS[name])
    operation, plain = (MAKE[name](chosen, offsets) for chosen in (backend, "reference"))
    tangents = tuple(map(torch.cos, inputs))
    close(jvp(operation, inputs, tangents), jvp(plain, inputs, tangents))
    close(*(grad(squares(run), every(inputs))(*inputs) for run in (operation, plain)))
    several = tuple(torch.stack([x, 0.9 * x]) for x in inputs)
    close(*(vmap(run)(*several) for run in (operation, plain)))


PLAIN: dict[str, tuple[Operation, tuple[Tensor, ...]]] = {
    "long_conv": (long_conv, (numbers(B, L, D), numbers(D, L))),
    "parallel_scan": (parallel_scan, (numbers(B, L), numbers(B, L))),
    "impulse_response": (
        lambda *x: impulse_response(*x, 5),
        (numbers(B, N, N), numbers(B, N), numbers(B, N)),
    ),
    "selective_state_update": (
        lambda *x: flat(selective_state_update(*x)),
        (numbers(B, D, N), numbers(B, D), numbers(B, D), A, numbers(B, N), numbers(B, N)),
    ),
    "ssd_state_update": (
        lambda *x: flat(ssd_state_update(*x)),
        (
            *(numbers(B, H, P, N), numbers(B, H, P), numbers(B, H).abs(), -torch.ones(H).double()),
            *(numbers(B, 1, N), numbers(B, 1, N)),
        ),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_operations_of_plain_pytorch(name: str) -> None:
    """Forward and reverse mode, of one and of each of several, give one Jacobian."""
    operation, inputs = PLAIN[name]
    expected = torch.autograd.functional.jacobian(operation, inputs)
    close(jacrev(operation, every(inputs))(*inputs), expected)
    close(jacfwd(operation, every(inputs))(*inputs), expected)
    several = tuple(torch.stack([x, x]) for x in inputs)
    loss = grad(squares(operation), every(inputs))
    close(vmap(loss)(*several), tuple(torch.stack([g, g]) for g in loss(*inputs)))


def test_functional_call() -> None:
    norm = torch.nn.Module()
    norm.weight = torch.nn.Parameter(numbers(D))
    norm.forward = lambda x: rms_norm(x, norm.weight, 1e-5, backend="cpu")
    x, other = numbers(B, D), {"weight": numbers(D)}
    close(functional_call(norm, other, x), rms_norm(x, other["weight"], 1e-5))
    tangents = jvp(
        lambda w: functional_call(norm, {"weight": w}, x), (norm.weight,), (torch.ones(D).double(),)
    )
    assert tangents[1].abs().max() > 0


def test_compiled_gradients_keep_their_precision() -> None:
    """What is computed anew in a compiled backward pass is in float32, not rounded as under autocast."""
    inputs = tuple(x.float().requires_grad_() for x in INPUTS["gated_delta_rule"])
    system = tuple(x.float().requires_grad_() for x in (0.3 * numbers(B, N, N), numbers(B, N), numbers(B, N)))
    compiled = torch.compile(
        lambda A, b, c, *others: (impulse_response(A, b, c, 5), delta_rule("chunked")(*others)),
        backend="aot_eager",
        fullgraph=True,
    )
    plain = (
        impulse_response(*map(torch.Tensor.double, system), 5),
        delta_rule("reference")(*map(torch.Tensor.double, inputs)),
    )
    leaves = (*system, *inputs)
    found, expected = (
        torch.autograd.grad(sum(y.square().sum() for y in outputs), leaves)
        for outputs in (compiled(*leaves), plain)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

"""PyTorch operators with a derivative of their own, which every transform of PyTorch's knows.

Each computation is two operators: the forward, and the backward that gives the gradients of its inputs. What
they know of derivatives and of ``torch.func`` is registered here, once for all of them:

- reverse mode (``backward``, ``torch.func.grad``, ``vjp``, ``jacrev``): the backward;
- forward mode (``torch.func.jvp``, ``jacfwd``, ``torch.autograd.forward_ad``): the same computation in plain
  PyTorch, which has tangents of any order;
- ``vmap``, and what ``torch.autograd`` has in its place (``is_grads_batched``): one run for each element;
- derivatives of the backward: refused.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction as Derivative

from seqsuite.kernels.precision import full_precision

__all__ = [
    "Derivative",
    "below_autograd",
    "call_backward",
    "define_operator",
    "implement_operator",
    "in_transform",
    "recomputed_gradients",
]

# ``Derivative`` is what torch.autograd.Function is made of. That one sends each call through all transforms
# of torch.func from the outside, but an operator's derivative is asked for at one of them.


class BatchInfo(Protocol):
    """What ``vmap`` says about itself."""

    @property
    def batch_size(self) -> int:
        """The number of elements."""


class _Batch(NamedTuple):
    batch_size: int


def define_operator(schema: str) -> torch._ops.OpOverload:
    """Define an operator, ``name(arguments) -> results``, in the namespace of seqsuite, and return it.

    To call what is returned takes 10 µs less than to call it by its name in ``torch.ops``.
    """
    name = schema.partition("(")[0]
    torch.library.define(f"seqsuite::{name}", schema.removeprefix(name))
    operator: torch._ops.OpOverload = getattr(torch.ops.seqsuite, name).default
    return operator


def implement_operator(
    operator: torch._ops.OpOverload,
    implementation: Callable[..., Any],
    fake: Callable[..., Any],
    derivative: type[Derivative] | None = None,
    plain: Callable[..., Any] | None = None,
    *,
    devices: tuple[str, ...] = ("CPU",),
) -> None:
    """Give a defined operator its implementation.

    ``torch.library.register_autograd`` does what ``derivative`` does at 0.15 ms a call more.

    Args:
        operator: The operator.
        implementation: What it computes.
        fake: The same for tensors without memory: shapes and dtypes.
        derivative: Function that takes the operator's arguments and is used where one needs a gradient; its
            forward calls the operator by :func:`below_autograd`. Without one, the operator is itself a
            backward, and what asks for its derivative is refused.
        plain: The computation in plain PyTorch, of the operator's arguments and results, used where one has a
            tangent; autocast is off in it.
        devices: Dispatch keys of the devices that the implementation can run on.
    """
    name: str = operator.name()  # type: ignore[no-untyped-call]  # untyped in PyTorch
    torch.library.impl(name, devices, implementation)
    torch.library.register_fake(name, fake)
    torch.library.register_vmap(name, _one_by_one(operator))
    torch.library.impl(name, "Batched", _for_autograd_batches(operator))
    if derivative is None or plain is None:
        torch.library.impl(name, "Autograd", _refusing(operator))
    else:
        torch.library.impl(name, "Autograd", _differentiable(operator, derivative, plain))


def below_autograd(operator: torch._ops.OpOverload, *arguments: Any) -> Any:
    """Call an operator past its derivative, from the forward of a :data:`Derivative`.

    There PyTorch has switched derivatives off, but transforms further out still ask for theirs.
    """
    if not torch._C._are_functorch_transforms_active():
        return _past_autograd(operator, *arguments)
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
        return _past_autograd(operator, *arguments)


def call_backward(backward: torch._ops.OpOverload, *arguments: Any) -> Sequence[Tensor]:
    """Call a backward operator, from the backward of a :data:`Derivative`.

    Where nothing can ask for its derivative, that is looked for no further.
    """
    watched = torch.is_grad_enabled() or in_transform()
    results: Sequence[Tensor] = backward(*arguments) if watched else _past_autograd(backward, *arguments)
    return results


def recomputed_gradients(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    doutputs: Tensor | Sequence[Tensor],
) -> list[Tensor]:
    """Return the gradients of a function's inputs by autograd, in a backward operator's implementation."""
    exclude = torch._C._dispatch_tls_local_exclude_set() & torch._C._after_autograd_keyset
    leaves = [t.detach().requires_grad_() for t in inputs]
    with (
        torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), exclude),
        full_precision(leaves[0].device),  # autocast is off by exclusion as well
        torch.enable_grad(),
    ):
        results = torch.autograd.grad(function(*leaves), leaves, doutputs, materialize_grads=True)
    return [gradient.contiguous() for gradient in results]


def _differentiable(
    operator: torch._ops.OpOverload, derivative: type[Derivative], plain: Callable[..., Any]
) -> Callable[..., Any]:
    def with_derivative(*arguments: Any) -> Any:
        if _in_forward_mode() and _any_tangent(arguments):
            with full_precision(_device(arguments)):
                return plain(*arguments)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            return _apply(derivative, *arguments)
        return _past_autograd(operator, *arguments)

    return with_derivative


def _refusing(operator: torch._ops.OpOverload) -> Callable[..., Any]:
    def without_derivative(*arguments: Any) -> Any:
        if _in_forward_mode() and _any_tangent(arguments):
            raise _no_second_derivative(operator, arguments)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            return list(_apply(_Refusal, operator, *arguments))
        return _past_autograd(operator, *arguments)

    return without_derivative


def _past_autograd(operator: torch._ops.OpOverload, *arguments: Any) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return operator(*arguments)


def _apply(derivative: type[Derivative], *arguments: Any) -> Any:
    """Call a derivative; within ``torch.func``, it is that of the transform under way."""
    apply: Callable[..., Any] = derivative.apply  # type: ignore[attr-defined]  # of a base class in C
    if not torch._C._are_functorch_transforms_active():
        return apply(*arguments)
    with enable_single_level_autograd_function():
        return apply(*arguments)


class _Refusal(Derivative):
    """A backward operator whose results remember that they have no derivative.

    ``torch.func.grad`` always makes them differentiable: the question is whether someone differentiates them.
    """

    @staticmethod
    def forward(ctx: Any, operator: torch._ops.OpOverload, *arguments: Any) -> tuple[Tensor, ...]:
        ctx.error = _no_second_derivative(operator, arguments)
        return tuple(below_autograd(operator, *arguments))

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise ctx.error


def _no_second_derivative(operator: torch._ops.OpOverload, arguments: Sequence[Any]) -> NotImplementedError:
    name: str = operator.name()  # type: ignore[no-untyped-call]  # untyped in PyTorch
    operation = name.removeprefix("seqsuite::").removesuffix("_backward")
    backend = arguments[0] if isinstance(arguments[0], str) else "cpu"
    return NotImplementedError(
        f"{operation}: the {backend} backend has no second derivatives; use backend='reference' "
        "(or the environment variable SEQSUITE_BACKEND=reference)"
    )


def _one_by_one(operator: torch._ops.OpOverload) -> Callable[..., tuple[Any, Any]]:
    def over_batch(info: BatchInfo, in_dims: Sequence[int | None], *arguments: Any) -> tuple[Any, Any]:
        if info.batch_size == 0:
            raise ValueError(f"{operator}: vmap needs at least one element")
        runs = [
            operator(
                *(x if dim is None else x.select(dim, i) for x, dim in zip(arguments, in_dims, strict=True))
            )
            for i in range(info.batch_size)
        ]
        if isinstance(runs[0], Tensor):
            return torch.stack(runs), 0
        kind = type(runs[0])
        return kind(map(torch.stack, zip(*runs, strict=True))), kind([0] * len(runs[0]))

    return over_batch


def _for_autograd_batches(operator: torch._ops.OpOverload) -> Callable[..., Any]:
    """Return what runs an operator in the older ``vmap`` that ``torch.autograd`` keeps for itself."""
    run = _one_by_one(operator)

    def is_batched(x: Any) -> bool:
        return isinstance(x, Tensor) and torch._C._dispatch_keys(x).has("Batched")

    def over_batch(*arguments: Any) -> Any:
        level = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        batched = [is_batched(x) for x in arguments]
        plain = [
            torch._remove_batch_dim(x, level, 1, 0) if one else x
            for x, one in zip(arguments, batched, strict=True)
        ]
        size = next(len(x) for x, one in zip(plain, batched, strict=True) if one)
        results, _ = run(_Batch(size), [0 if one else None for one in batched], *plain)
        if isinstance(results, Tensor):
            return torch._add_batch_dim(results, 0, level)
        return type(results)(torch._add_batch_dim(result, 0, level) for result in results)

    return over_batch


def in_transform() -> bool:
    """Return whether forward mode or ``torch.func`` is at work, which not all of PyTorch's kernels know."""
    if torch.compiler.is_compiling():
        return False
    return _in_forward_mode() or torch._C._are_functorch_transforms_active()


def _in_forward_mode() -> bool:
    """Return whether tensors may have tangents that count."""
    return forward_ad._current_level >= 0 and torch._C._is_fwd_grad_enabled()


def _any_tangent(arguments: Iterable[Any]) -> bool:
    unpack: Callable[[Tensor], Any] = forward_ad.unpack_dual
    return any(isinstance(x, Tensor) and unpack(x).tangent is not None for x in arguments)


def _device(arguments: Iterable[Any]) -> torch.device:
    return next(x.device for x in arguments if isinstance(x, Tensor))

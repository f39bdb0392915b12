"""What a peer is, and how it is fed, checked and run."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

OURS = "seqsuite"
Work = Literal["forward", "backward", "forward + backward"]
FORWARD: Work = "forward"
BACKWARD: Work = "backward"
BOTH: Work = "forward + backward"

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Largest relative errors in norm of the output and of any gradient that a peer may have and still be timed.
TOLERANCES = {"float32": (1e-5, 1e-4), "bfloat16": (3e-2, 6e-2)}

# How many shapes a function may be compiled for. At PyTorch's limit of 8 it would silently go on uncompiled.
MOST_SHAPES = 128

Function = Callable[..., Tensor]
Backend = str | Callable[..., Any]
"""Of ``torch.compile``."""
Inputs = dict[str, Tensor]


class Shape(NamedTuple):
    """Sizes of an operation: ``size`` is the states N of a scan, the taps K of a short convolution."""

    batch: int
    seqlen: int
    d_model: int
    size: int

    def __str__(self) -> str:
        return f"({', '.join(map(str, self))})"

    @property
    def elements(self) -> int:
        """How many (t, d, n) there are."""
        return self.batch * self.seqlen * self.d_model * self.size


@dataclass(frozen=True)
class Operation:
    """What a peer computes.

    Attributes:
        name: for people.
        inputs: makes inputs by name in float64, each a leaf that gets a gradient.
        reference: computes the same in float64, plainly.
        check_shape: small, and awkward for no peer.
        sequences: names of the inputs that come in the benchmark's dtype; others are float32 at least.
    """

    name: str
    inputs: Callable[[Shape, torch.Generator], Inputs]
    reference: Function
    check_shape: Shape
    sequences: tuple[str, ...]


@dataclass(frozen=True)
class Peer:
    """One implementation of an operation, beside which ours is timed.

    Attributes:
        name: how it is asked for.
        description: what it is, in a few words.
        operation: what it computes.
        make: imports and builds what it needs; returns a function of the operation's inputs, by name.
        packages: what must be installed.
        channels_first: whether it takes and gives (B, D, L) in place of (B, L, D); it is fed such tensors.
        compiled: whether torch.compile makes it, for which a first call at each shape takes long.
        gpu_only: whether it runs on a GPU only; the extra "bench" then does not have its packages.
        states: how many tensors (B, L, D, N) forward and backward hold at once, for the estimate.
    """

    name: str
    description: str
    operation: Operation
    make: Callable[[], Function]
    packages: tuple[str, ...] = ()
    channels_first: bool = False
    compiled: bool = False
    gpu_only: bool = False
    states: float = 0.0

    def unavailable_because(self, device: str = "cpu") -> str | None:
        """Return why it cannot run on this machine and device, or ``None`` if it can."""
        if self.gpu_only and device != "cuda":
            return "it needs a GPU"
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            where = "" if self.gpu_only else "; the extra 'bench' has it"
            return f"{', '.join(missing)} not installed{where}"
        return why_no_compiler() if self.compiled else None


def compile_for_each_shape(
    function: Callable[..., Any], backend: Backend, options: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Return the function as ``torch.compile`` makes it for each shape; what it cannot make is an error."""
    torch._dynamo.config.recompile_limit = MOST_SHAPES
    return torch.compile(function, dynamic=False, fullgraph=True, backend=backend, options=options)


def why_no_compiler() -> str | None:
    """Return why ``torch.compile`` cannot make code for the CPU here, or ``None`` if it can."""
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (exc.InvalidCxxCompiler, RuntimeError, OSError):
        return "torch.compile needs a C++ compiler, and there is none"
    return None


def make_inputs(
    peer: Peer, shape: Shape, *, device: str = "cpu", dtype: torch.dtype = torch.float32, grad: bool
) -> Inputs:
    """Return the peer's inputs in its layout; sequences come in ``dtype``, others in float32 at least."""
    inputs = peer.operation.inputs(shape, torch.Generator().manual_seed(0))
    prepared = {}
    for name, value in inputs.items():
        kind = dtype if name in peer.operation.sequences else torch.promote_types(dtype, torch.float32)
        placed = _swap(value, peer).to(device, kind).contiguous()
        prepared[name] = placed.detach().clone().requires_grad_(grad)
    return prepared


def runner(function: Function, inputs: Inputs, work: Work) -> Callable[[], object]:
    """Return a call that does the work on these inputs; their gradients are all taken."""
    if work == FORWARD:

        def forward() -> Tensor:
            with torch.no_grad():
                return function(**inputs)

        return forward
    leaves = list(inputs.values())
    if work == BACKWARD:
        y = function(**inputs)
        dy = torch.ones_like(y)
        return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)
    ones: list[Tensor] = []  # made in the first call

    def both() -> tuple[Tensor, ...]:
        y = function(**inputs)
        if not ones:
            ones.append(torch.ones_like(y))
        return torch.autograd.grad(y, leaves, ones)

    return both


@dataclass(frozen=True)
class Check:
    """How far a peer is from the float64 reference, relative in norm, on a small shape."""

    forward: float
    gradients: float


def peers_of(benchmark: str) -> list[Peer]:
    """Return the peers of "scan", "conv" or "ssd"."""
    module = importlib.import_module(f"seqsuite.bench.{benchmark}_peers")
    peers: list[Peer] = getattr(module, f"{benchmark.upper()}_PEERS")
    return peers


def check(peer: Peer, function: Function, *, device: str = "cpu", dtype: str = "float32") -> Check:
    """Compare output and every gradient with the reference in float64, on the operation's small shape.

    Raises:
        ValueError: it is further away than rounding explains.
    """
    shape = peer.operation.check_shape
    inputs = make_inputs(peer, shape, device=device, dtype=DTYPES[dtype], grad=True)
    exact = {
        name: _swap(value.detach().cpu(), peer).to(torch.promote_types(value.dtype, torch.float64))
        for name, value in inputs.items()
    }
    exact = {name: value.requires_grad_() for name, value in exact.items()}
    y, expected = function(**inputs), peer.operation.reference(**exact)
    dy = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = _swap(dy, peer).to(y.device, y.dtype)
    gradients = torch.autograd.grad(y, list(inputs.values()), weights)
    expected_gradients = torch.autograd.grad(
        expected, list(exact.values()), _swap(weights.cpu(), peer).to(torch.float64)
    )
    errors = [
        relative_error(_swap(a.cpu(), peer), b) for a, b in zip(gradients, expected_gradients, strict=True)
    ]
    found = Check(relative_error(_swap(y.detach().cpu(), peer), expected.detach()), max(errors))
    limits = TOLERANCES[dtype]
    # Written so that NaN fails too.
    if not (found.forward <= limits[0] and found.gradients <= limits[1]):
        raise ValueError(
            f"differs from the float64 reference by {found.forward:.0e} (output), "
            f"{found.gradients:.0e} (gradients)"
        )
    return found


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return ‖actual − expected‖ / ‖expected‖."""
    wide = torch.promote_types(actual.dtype, torch.float64)
    return float((actual.to(wide) - expected).norm() / expected.norm().clamp_min(1e-300))


def _swap(tensor: Tensor, peer: Peer) -> Tensor:
    """Turn (B, L, D) into the peer's layout, or back, which is the same."""
    return tensor.transpose(1, 2) if peer.channels_first and tensor.dim() == 3 else tensor

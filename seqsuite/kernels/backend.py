"""Which implementation a kernel uses, and why."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch

BACKEND_VARIABLE = "SEQSUITE_BACKEND"

NATIVE = {"cpu": "cpu", "cuda": "triton"}
"""The fastest backend by type of device, where a kernel has it and it can run."""


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used on this machine; ``reason`` says why, or why not."""

    name: str
    available: bool
    reason: str


@dataclass(frozen=True)
class Backend:
    """One implementation of an operation.

    Attributes:
        name: what the user calls it.
        unavailable_because: returns why it cannot run on this machine, or ``None`` if it can.
        description: what it is, in a few words.
    """

    name: str
    unavailable_because: Callable[[], str | None]
    description: str

    def status(self) -> BackendStatus:
        """Ask the machine whether this backend can run."""
        reason = self.unavailable_because()
        return BackendStatus(self.name, reason is None, reason or self.description)


def choose_backend(
    operation: str,
    known: Mapping[str, Backend],
    device: str,
    backend: str | None,
    *,
    fused_pays: bool = True,
    fallback: str = "reference",
) -> str:
    """Return the backend that the call or ``SEQSUITE_BACKEND`` asks for, else the fastest that can run.

    What the environment asks for, a kernel without such a backend ignores.

    Args:
        operation: Name of the kernel.
        known: Its backends by name.
        device: Type of the device that its arguments are on.
        backend: What the call asks for.
        fused_pays: Whether the fused kernels are the faster ones for these arguments.
        fallback: Which of its backends runs where they are not, or cannot.

    Raises:
        ValueError: if what is asked for is unknown, or cannot run on this machine or device.
    """
    name = _requested(backend, known)
    if name is None:
        name = NATIVE.get(device, fallback)
        usable = fused_pays and name in known and known[name].unavailable_because() is None
        return name if usable else fallback
    if name in NATIVE.values() and name != NATIVE.get(device) and not (name == "triton" and interprets()):
        wanted = {"cpu": "the CPU", "triton": "a GPU"}[name]
        raise ValueError(f"{operation}: backend {name!r} needs tensors on {wanted}, but they are on {device}")
    return name


def _requested(backend: str | None, known: Mapping[str, Backend]) -> str | None:
    name = backend or os.environ.get(BACKEND_VARIABLE) or None
    if name is None:
        return None
    source = "backend" if backend else BACKEND_VARIABLE
    names = known if backend else {every.name for every in (TRITON, CPU, REFERENCE)}
    if name not in names:
        raise ValueError(f"{source} must be one of {', '.join(known)}, not {name!r}")
    if name not in known:
        return None
    reason = known[name].unavailable_because()
    if reason is not None:
        raise ValueError(f"{source} asks for {name!r}, which cannot be used here: {reason}")
    return name


@cache
def _why_no_cpu() -> str | None:
    try:
        from seqsuite.kernels.llvm.jit import why_unavailable
    except (ImportError, OSError) as error:
        return f"llvmlite cannot be loaded: {error}"
    return why_unavailable()


def _why_no_triton() -> str | None:
    reason = _why_no_import()
    if reason is not None:
        return reason
    # Asked at every call, so that what costs least comes first: with a tensor on a GPU, CUDA is initialised.
    initialised: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # untyped in PyTorch
    if initialised or interprets() or torch.cuda.is_available():
        return None
    return "there is no GPU that PyTorch can use"


@cache
def _why_no_import() -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported: {error}"
    return None


def interprets() -> bool:
    """Return whether Triton takes tensors on the CPU, for tests.

    Its interpreter (TRITON_INTERPRET=1) runs kernels there, a driver that records writes their launches down.
    """
    import triton

    driver = triton.runtime.driver._active
    return bool(triton.knobs.runtime.interpret) or getattr(driver, "only_records", False)


TRITON = Backend("triton", _why_no_triton, "fused kernels compiled by Triton for the GPU")
CPU = Backend("cpu", _why_no_cpu, "vector kernels compiled by LLVM for this processor")
REFERENCE = Backend("reference", lambda: None, "plain PyTorch")

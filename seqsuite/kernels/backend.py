"""Which implementation a kernel uses, and why."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

BACKEND_VARIABLE = "SEQSUITE_BACKEND"


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


def requested_backend(backend: str | None, known: Mapping[str, Backend]) -> str | None:
    """Return the backend that the call or ``SEQSUITE_BACKEND`` asks for, ``None`` where neither does.

    Raises:
        ValueError: if it is unknown, or cannot run on this machine.
    """
    name = backend or os.environ.get(BACKEND_VARIABLE) or None
    if name is None:
        return None
    source = "backend" if backend else BACKEND_VARIABLE
    if name not in known:
        raise ValueError(f"{source} must be one of {', '.join(known)}, not {name!r}")
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


CPU = Backend("cpu", _why_no_cpu, "vector kernels compiled by LLVM for this processor")
REFERENCE = Backend("reference", lambda: None, "plain PyTorch")


def resolve_backend(
    operation: str, device: str, backend: str | None, known: Mapping[str, Backend], fused_pays: bool = True
) -> str:
    """Return which of the backends "cpu" and "reference" is to run: what is asked for, else the faster one.

    Args:
        operation: Name of the kernel.
        device: Type of the device that the arguments are on.
        backend: What the call asks for.
        known: The kernel's backends.
        fused_pays: Whether the fused kernels are the faster ones for these arguments.

    Raises:
        ValueError: what is asked for does not exist, cannot run on this machine, or not on this device.
    """
    name = requested_backend(backend, known)
    if name == "cpu" and device != "cpu":
        raise ValueError(f"{operation}: backend 'cpu' needs tensors on the CPU, but they are on {device}")
    if name is not None:
        return name
    return "cpu" if device == "cpu" and fused_pays and CPU.unavailable_because() is None else "reference"

"""The machine that a benchmark runs on, and the one setting of it that a benchmark changes: the allocator."""

import ctypes
import os
import platform
from pathlib import Path

import torch

from seqsuite import __version__
from seqsuite.errors import UserError

# glibc's mallopt: https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BELOW = (1 << 31) - 1


def describe_machine(device: str, threads: tuple[int, ...]) -> dict[str, str]:
    """Return what a reader must know of the machine, and of what runs on it, to place a number."""
    memory = _meminfo("MemTotal")
    machine = {
        "processor": _processor(),
        "cores": str(usable_cores()),
        "threads": ", ".join(map(str, threads)),
        "vector unit": torch.backends.cpu.get_cpu_capability(),
        "memory": f"{memory / 2**30:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "seqsuite": __version__,
        "device": device,
    }
    if device == "cuda":
        machine["GPU"] = torch.cuda.get_device_name()
    return machine


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(device: str) -> int | None:
    """Return the bytes that can still be allocated, or ``None`` where the system does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return _meminfo("MemAvailable")


def tune_allocator() -> None:
    """Make glibc keep freed memory for the next tensor instead of returning it to the system.

    By default every large tensor is mapped afresh, and its pages are zeroed by the kernel one fault after
    the other; code that makes many large temporaries is bound by that. There is no way back within a process.

    Raises:
        UserError: the C library is not glibc, or refuses.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        raise UserError(
            "--allocator tuned needs glibc's mallopt, which this system has not: use --allocator default."
        ) from None
    for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        if not mallopt(parameter, _KEEP_BELOW):
            raise UserError("--allocator tuned: the C library refuses; use --allocator default.")


def trim_allocator() -> None:
    """Return freed memory to the system, where the C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _meminfo(key: str) -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

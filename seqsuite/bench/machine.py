"""The machine that a benchmark runs on."""

import platform
from pathlib import Path

import torch

from seqsuite import __version__
from seqsuite.devices import processor, usable_cores


def describe_machine(device: str, threads: tuple[int, ...]) -> dict[str, str]:
    """Return what a reader must know of the machine, and of what runs on it, to place a number."""
    memory = _meminfo("MemTotal")
    machine = {
        "processor": processor(),
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


def available_memory(device: str) -> int | None:
    """Return the bytes that can still be allocated, or ``None`` where the system does not say."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return _meminfo("MemAvailable")


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

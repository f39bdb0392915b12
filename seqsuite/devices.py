"""Where to compute."""

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seqsuite.errors import UserError
from seqsuite.wording import counted

if TYPE_CHECKING:
    import torch

_PEAKS = (
    ("B200", 2250, 80),
    ("H200", 989, 67),
    ("H100 PCIe", 756, 51),
    ("H100 NVL", 835, 60),
    ("H100", 989, 67),
    ("A100", 312, 19.5),
    ("L40S", 362, 91.6),
    ("L40", 181, 90.5),
    ("L4", 121, 30.3),
    ("RTX 4090", 165, 82.6),
    ("RTX 3090", 71, 35.6),
    ("MI300X", 1307, 163.4),
)
"""GPUs by a part of their name, the first that fits: 10¹² operations a second on dense matrices of bfloat16
or float16 with sums in float32, and of float32 without TF32, as their makers' data sheets say."""

Device = Literal["auto", "cpu", "cuda"]
"""What users say: ``"auto"`` is a GPU if there is one."""


def choose_device(name: Device, setting: str = "run.device=cuda") -> "torch.device":
    """Return the device to compute on.

    Args:
        name: What is asked for.
        setting: How a GPU was asked for, for the message.

    Raises:
        UserError: if a GPU is asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{setting} needs a GPU that PyTorch can use, and finds none: leave it out.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware(device: "torch.device") -> str:
    """Return what computes there, in a few words: a GPU's name, or the processor's with its cores."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {counted(usable_cores(), 'core')}"


def peak_flops(device: "torch.device", precision: Literal["fp32", "bf16", "fp16"]) -> float | None:
    """Return the most floating-point operations a second that a GPU can do, or ``None`` if unknown."""
    import torch

    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    for part, half, single in _PEAKS:
        if re.search(rf"\b{part}\b", name):
            return (single if precision == "fp32" else half) * 1e12
    return None

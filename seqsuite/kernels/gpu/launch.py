"""Launching Triton kernels: on a GPU, in the interpreter, or only recording what would be launched."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton


@dataclass(frozen=True, eq=False)
class Runtime:
    """What the kernels run on.

    Attributes:
        architecture: NVIDIA's compute capability, 90 for 9.0, or the name of AMD's.
        warp_size: number of threads that run together.
        multiprocessors: number of processors.
        launch: runs a kernel on a grid with its arguments by name, with so many warps a program; returns it
            compiled, or None where it is not.
    """

    architecture: int | str
    warp_size: int
    multiprocessors: int
    launch: Callable[[Any, int, dict[str, Any], int], Any]

    @staticmethod
    def of(device: torch.device) -> "Runtime":
        """Return the runtime of a GPU; of the CPU, where Triton's interpreter is on."""
        if device.type == "cpu" and triton.knobs.runtime.interpret:
            return Runtime(90, 32, 1, launch)
        return _gpu(device, triton.runtime.driver.active)


@cache
def _gpu(device: torch.device, driver: Any) -> Runtime:
    with on_device(device):
        target = driver.get_current_target()
    multiprocessors = 132 if device.type == "cpu" else _multiprocessors(device)
    return Runtime(target.arch, target.warp_size, multiprocessors, launch)


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


def launch(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> Any:
    """Launch a kernel on the current device, by Triton's launcher; return it compiled."""
    return kernel[(programs,)](**arguments, num_warps=warps)


_HERE = nullcontext()


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which this GPU is the current one; for other devices one that does nothing."""
    if device.type == "cpu" or device.type == "meta" or device.index == torch.cuda.current_device():
        return _HERE
    return torch.cuda.device(device)

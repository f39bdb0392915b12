"""Launching Triton kernels: on a GPU, in the interpreter, or only recording what would be launched."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor


@dataclass(frozen=True)
class Runtime:
    """What the kernels run on.

    Attributes:
        architecture: NVIDIA's compute capability, 90 for 9.0, or the name of AMD's.
        warp_size: number of threads that run together.
        multiprocessors: number of processors.
        launch: runs a kernel on a grid with its arguments by name, with so many warps a program.
    """

    architecture: int | str
    warp_size: int
    multiprocessors: int
    launch: Callable[[Any, int, dict[str, Any], int], None]

    @staticmethod
    def of(device: torch.device) -> "Runtime":
        """Return the runtime of a GPU; of the CPU, where Triton's interpreter is on."""
        if triton.knobs.runtime.interpret:
            return Runtime(90, 32, 1, launch)
        return _gpu(device)

    def launch_with(self, kernel: Any, programs: int, arguments: dict[str, Any], warps: int = 1) -> None:
        """Launch a kernel with those of the arguments that it has."""
        self.launch(kernel, programs, {name: arguments[name] for name in kernel.arg_names}, warps)


@cache
def _gpu(device: torch.device) -> Runtime:
    with torch.cuda.device(device):
        target = triton.runtime.driver.active.get_current_target()
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    return Runtime(target.arch, target.warp_size, multiprocessors, launch)


def launch(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> None:
    """Launch a kernel on the device of its tensors."""
    device = next(value for value in arguments.values() if isinstance(value, Tensor)).device
    here = device.type == "cpu" or device.index == torch.cuda.current_device()
    with nullcontext() if here else torch.cuda.device(device):
        kernel[(programs,)](**arguments, num_warps=warps)

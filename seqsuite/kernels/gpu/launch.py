"""Launching Triton kernels: on a GPU, in the interpreter, or only recording what would be launched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor


@dataclass(frozen=True)
class Runtime:
    """What the kernels run on.

    Attributes:
        warp_size: number of threads that run together.
        multiprocessors: number of processors.
        launch: runs a kernel on a grid with its arguments by name, with so many warps a program.
    """

    warp_size: int
    multiprocessors: int
    launch: Callable[[Any, int, dict[str, Any], int], None]

    @staticmethod
    def of(device: torch.device) -> "Runtime":
        """Return the runtime of a GPU; of the CPU, where Triton's interpreter is on."""
        if triton.knobs.runtime.interpret:
            return Runtime(32, 1, launch)
        with torch.cuda.device(device):
            warp_size = triton.runtime.driver.active.get_current_target().warp_size
        return Runtime(warp_size, torch.cuda.get_device_properties(device).multi_processor_count, launch)

    def launch_with(self, kernel: Any, programs: int, arguments: dict[str, Any], warps: int = 1) -> None:
        """Launch a kernel with those of the arguments that it has."""
        self.launch(kernel, programs, {name: arguments[name] for name in kernel.arg_names}, warps)


def launch(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> None:
    """Launch a kernel on the device of its tensors."""
    tensor = next(value for value in arguments.values() if isinstance(value, Tensor))
    with torch.cuda.device_of(tensor):  # type: ignore[no-untyped-call]
        kernel[(programs,)](**arguments, num_warps=warps)

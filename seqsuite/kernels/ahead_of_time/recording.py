"""The GPU's part of a call without a GPU: kernels compile as for one, launches and allocations are counted.

What remains to be seen is the host's part: the Python and the dispatching that a GPU waits for where a call
has little to compute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
from torch.profiler import ProfilerActivity, profile
from triton.backends.compiler import GPUTarget

# PyTorch's operators that start no kernel: they give views, or memory.
_VIEWS = frozenset(
    f"aten::{name}"
    for name in [
        "alias",
        "as_strided",
        "detach",
        "detach_",
        "expand",
        "narrow",
        "permute",
        "promote_types",
        "reshape",
        "resolve_conj",
        "resolve_neg",
        "select",
        "set_",
        "slice",
        "squeeze",
        "t",
        "to",
        "transpose",
        "unsqueeze",
        "view",
        "_reshape_alias",
        "_unsafe_view",
        "lift_fresh",
        "result_type",
    ]
)
_ALLOCATIONS = frozenset({"aten::empty", "aten::empty_strided", "aten::resize_"})


@dataclass(frozen=True)
class Recorded:
    """A launch: the kernel's name and source, the grid, warps a program, and the kernel's arguments."""

    name: str
    grid: tuple[int, int, int]
    warps: int
    source: Any
    arguments: tuple[Any, ...]


@dataclass(eq=False)
class RecordingDriver:
    """Stands in for ``triton.runtime.driver.active``: an H100 that runs nothing, for tensors on the CPU.

    Attributes:
        launched: launches so far, in their order.
    """

    launched: list[Recorded] = field(default_factory=list)
    only_records: bool = True

    @property
    def utils(self) -> "RecordingDriver":
        """Where Triton looks for :meth:`load_binary`."""
        return self

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        """Return what launches a compiled kernel."""

        def launch(x: int, y: int, z: int, *rest: Any) -> None:
            arguments = rest[-len(source.fn.arg_names) :]
            self.launched.append(
                Recorded(source.fn.__name__, (x, y, z), metadata.num_warps, source, arguments)
            )

        return launch

    def load_binary(self, *_: Any) -> tuple[None, int, int, int, int]:
        """Return a module, a function, and numbers of registers, spills and threads."""
        return None, 0, 0, 0, 1024

    def get_device_properties(self, _: int) -> dict[str, int]:
        """Return what a kernel can have of shared memory."""
        return {"max_shared_mem": 227 * 1024}

    def get_current_target(self) -> GPUTarget:
        """Return the GPU to compile for."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Return the GPU's index."""
        return 0

    def get_current_stream(self, _: int) -> int:
        """Return the stream's address."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Return where tensors are."""
        return torch.device("cpu")


@contextmanager
def recording() -> Iterator[RecordingDriver]:
    """Let the "triton" backends take tensors on the CPU, and only record what they would launch."""
    before, driver = triton.runtime.driver._active, RecordingDriver()
    triton.runtime.driver._active = driver
    try:
        yield driver
    finally:
        triton.runtime.driver._active = before


@dataclass(frozen=True)
class Work:
    """What a call asks of a GPU.

    Attributes:
        kernels: names of our kernels, in the order of their launches.
        operators: names of PyTorch's operators that start kernels.
        allocations: how often memory is asked for.
    """

    kernels: list[str]
    operators: list[str]
    allocations: int

    @property
    def launches(self) -> int:
        """How many kernels start."""
        return len(self.kernels) + len(self.operators)


def work_of(call: Callable[[], object], driver: RecordingDriver) -> Work:
    """Return what a call asks of a GPU once it is warm."""
    call()
    driver.launched.clear()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        call()
    leaves = [e.name for e in profiled.events() if e.name.startswith("aten::") and not e.cpu_children]
    return Work(
        kernels=[launch.name for launch in driver.launched],
        operators=[name for name in leaves if name not in _VIEWS | _ALLOCATIONS],
        allocations=sum(name in _ALLOCATIONS for name in leaves),
    )

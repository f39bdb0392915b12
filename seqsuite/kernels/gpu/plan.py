"""Launches planned once for all calls that look alike.

What a call needs follows from the shapes, strides, dtypes and alignment of its tensors and from its options:
how the work is cut, which code is compiled, which memory it takes. A plan keeps all of that, so that the next
such call only asks for memory and starts the kernels with their addresses.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
import triton
from torch import Tensor

from seqsuite.kernels.gpu.launch import Runtime, on_device

Shape = tuple[int, ...]

# Numbers between two pieces of a workspace, at least, and what their starts are multiples of.
GAP = 64

# Plans of one operation that are kept; the oldest go first.
MOST_PLANS = 1024


@dataclass(frozen=True)
class Piece:
    """A part of a call's workspace: the number that it starts at, and its shape."""

    start: int
    shape: Shape


@dataclass(frozen=True)
class Given:
    """An input or a result of the call that a kernel knows by another name."""

    name: str


class Workspace:
    """The memory that a call needs beside its results, allocated as one tensor.

    Attributes:
        dtype: of that tensor.
        size: numbers in all.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.size = dtype, 0

    def piece(self, *shape: int) -> Piece:
        """Reserve memory for a tensor."""
        start = self.size
        self.size += -(-math.prod(shape) // GAP) * GAP + GAP
        return Piece(start, shape)


@dataclass(frozen=True)
class Result:
    """A tensor that a call returns: the input whose dtype and device it has, and its own shape, if any."""

    like: str
    shape: Shape | None = None


@dataclass(frozen=True)
class PlannedLaunch:
    """A launch of a kernel, with those of its arguments that are neither inputs nor results of the call."""

    kernel: Any
    programs: int
    arguments: Mapping[str, Any]
    warps: int = 1


class Plan:
    """The launches of calls that look alike.

    Args:
        runtime: What they run on.
        inputs: Names of the tensors of a call, in the order of :meth:`run`; the first is always given.
        results: What a call returns, by name.
        launches: In their order. An argument of a kernel is what the launch says: a number, a tensor that
            the plan keeps, a piece of the workspace, or an input or result; else the one of its name.
        workspace: The memory that pieces are from.
        copied: Inputs that the kernels cannot read where they lie, and that are copied first.
    """

    def __init__(
        self,
        runtime: Runtime,
        inputs: Sequence[str],
        results: Mapping[str, Result],
        launches: Sequence[PlannedLaunch],
        *,
        workspace: Workspace | None = None,
        copied: Sequence[str] = (),
    ) -> None:
        place = {name: index for index, name in enumerate((*inputs, *results))}
        self._runtime, self._launches, self._place = runtime, tuple(launches), place
        self._workspace = workspace if workspace is not None and workspace.size else None
        self._copied = tuple(place[name] for name in copied)
        self._results = tuple((place[result.like], result.shape) for result in results.values())
        self._ready: tuple[_ReadyLaunch, ...] | None = None

    def run(self, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        """Start the kernels on these inputs; return the results."""
        tensors = list(inputs)
        for index in self._copied:
            tensors[index] = tensors[index].contiguous()  # type: ignore[union-attr]  # given, or not copied
        first = tensors[0]
        assert first is not None
        results = [_empty(tensors[index], shape) for index, shape in self._results]
        tensors += results
        workspace = self._workspace
        tensors.append(None if workspace is None else first.new_empty(workspace.size, dtype=workspace.dtype))
        with on_device(first.device):
            if self._ready is None:
                self._run_first(tensors)
            else:
                pointers = [None if t is None else t.data_ptr() for t in tensors]
                stream = triton.runtime.driver.active.get_current_stream(first.device.index or 0)
                for launch in self._ready:
                    launch.start(stream, pointers)
        return results

    def _run_first(self, tensors: list[Tensor | None]) -> None:
        """Run by Triton's own launcher, which compiles; keep what the next call needs of it."""
        ready = []
        for launch in self._launches:
            arguments = {name: self._value(launch, name, tensors) for name in launch.kernel.arg_names}
            compiled = self._runtime.launch(launch.kernel, launch.programs, arguments, launch.warps)
            if compiled is not None:
                ready.append(self._prepare(launch, compiled, tensors))
        if len(ready) == len(self._launches):
            self._ready = tuple(ready)

    def _value(self, launch: PlannedLaunch, name: str, tensors: list[Tensor | None]) -> Any:
        value = launch.arguments.get(name, Given(name))
        if isinstance(value, Given):
            return tensors[self._place[value.name]]
        if isinstance(value, Piece):
            workspace = tensors[-1]
            assert workspace is not None
            return workspace[value.start : value.start + math.prod(value.shape)].view(value.shape)
        return value

    def _prepare(self, launch: PlannedLaunch, compiled: Any, tensors: list[Tensor | None]) -> "_ReadyLaunch":
        constants: list[Any] = []
        slots = []
        for position, name in enumerate(launch.kernel.arg_names):
            value = launch.arguments.get(name, Given(name))
            index, offset = None, 0
            if isinstance(value, Piece):
                workspace = tensors[-1]
                assert workspace is not None
                index, offset = len(tensors) - 1, value.start * workspace.element_size()
            elif isinstance(value, Given):
                index = self._place[value.name]
                value = None
            if index is not None and tensors[index] is not None:
                slots.append((position, index, offset))
            constants.append(value.data_ptr() if isinstance(value, Tensor) else value)
        return _ReadyLaunch(
            compiled.run, launch.programs, compiled.function, compiled.packed_metadata, constants, slots
        )


@dataclass(frozen=True)
class _ReadyLaunch:
    """A compiled kernel with its arguments but for addresses that change from call to call.

    Attributes:
        run, function, metadata: the kernel, as Triton's launcher takes it.
        programs: number of them.
        constants: its arguments, with gaps for addresses.
        slots: for each gap its position, the tensor, and where in it, in bytes.
    """

    run: Callable[..., None]
    programs: int
    function: int
    metadata: Any
    constants: list[Any]
    slots: list[tuple[int, int, int]]

    def start(self, stream: int, pointers: list[Any]) -> None:
        arguments = self.constants.copy()
        for position, index, offset in self.slots:
            arguments[position] = pointers[index] + offset
        self.run(self.programs, 1, 1, stream, self.function, self.metadata, None, None, None, *arguments)


def _empty(like: Tensor | None, shape: Shape | None) -> Tensor:
    """Return memory for a contiguous tensor."""
    assert like is not None
    if shape is None:  # takes half as long
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return like.new_empty(shape)


class Plans:
    """The plans of an operation, by what they depend on."""

    def __init__(self) -> None:
        self._plans: dict[Hashable, Plan] = {}
        self._lock = Lock()

    def find(self, key: Hashable, make: Callable[[], Plan]) -> Plan:
        """Return the plan for this key, made if there is none."""
        plan = self._plans.get(key)
        if plan is None:
            plan = make()
            with self._lock:  # the backward runs in a thread of its own
                self._plans[key] = plan
                if len(self._plans) > MOST_PLANS:
                    del self._plans[next(iter(self._plans))]
        return plan


def looks(tensors: Sequence[Tensor | None]) -> Hashable:
    """Return what a plan depends on of tensors: shapes, strides, dtypes and alignment to 16 bytes."""
    return tuple([None if t is None else (t.shape, t.stride(), t.dtype, t.data_ptr() % 16) for t in tensors])

"""Triton's interpreter made fit for tests: its known faults mended, and every access to memory checked.

A kernel fails, as under a GPU's sanitizer, that touches memory outside its arguments, that has two programs
write one number or one read what another writes, or in which a program reads what it wrote itself
with no barrier between: on a GPU, other threads of the warp may not see it yet.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


class KernelFaultError(AssertionError):
    """A kernel did what would go wrong on a GPU."""


def mend() -> None:
    """Mend what Triton 3.6 computes wrongly, or refuse it."""
    patch_tensor = interpreter._patch_lang_tensor

    def patch_with_index(tensor: Any, scope: Any) -> None:
        # range() over a tensor, from NumPy 2.4 on (https://github.com/triton-lang/triton/issues/9171).
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(np.asarray(self.handle.data).reshape(-1)[0]))

    interpreter._patch_lang_tensor = patch_with_index
    for name in ("unary_op", "binary_op"):  # which take the bits of bfloat16 for integers
        setattr(InterpreterBuilder, name, _refusing_bfloat16(getattr(InterpreterBuilder, name)))


def _refusing_bfloat16(operation: Any) -> Any:
    def refuse(builder: Any, *arguments: Any) -> Any:
        operands = (a for a in arguments if isinstance(a, TensorHandle))
        if any(operand.dtype.scalar == tl.bfloat16 for operand in operands):
            raise KernelFaultError("arithmetic in bfloat16: widen what is loaded")
        return operation(builder, *arguments)

    return refuse


class _Launch:
    """What the programs of one launch have read and written, as addresses of bytes."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        spans = sorted(
            (
                t.data_ptr(),
                t.data_ptr()
                + t.element_size() * (1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))),
            )
            for t in tensors
            if t.numel()
        )
        self.starts = np.array([start for start, _ in spans], dtype=np.uint64)
        self.ends = np.array([end for _, end in spans], dtype=np.uint64)
        self.written: dict[int, list[np.ndarray]] = {}
        self.read: dict[int, list[np.ndarray]] = {}
        self.unsettled: list[np.ndarray] = []
        self.program = -1

    def enter(self, program: int) -> None:
        if program != self.program:
            self.program, self.unsettled = program, []

    def check_bounds(self, addresses: np.ndarray, size: int) -> None:
        span = np.searchsorted(self.starts, addresses, side="right").astype(int) - 1
        outside = (span < 0) | (addresses + np.uint64(size) > self.ends[np.maximum(span, 0)])
        if outside.any():
            raise KernelFaultError(
                f"{outside.sum()} addresses outside of the arguments in program {self.program}"
            )

    def load(self, addresses: np.ndarray) -> None:
        if any(np.isin(addresses, stored).any() for stored in self.unsettled):
            raise KernelFaultError(f"program {self.program} loads what it stored with no barrier between")
        self.read.setdefault(self.program, []).append(addresses)

    def store(self, addresses: np.ndarray) -> None:
        if len(np.unique(addresses)) != len(addresses):
            raise KernelFaultError(f"two lanes of program {self.program} store to one address")
        self.unsettled.append(addresses)
        self.written.setdefault(self.program, []).append(addresses)

    def check_races(self) -> None:
        writer: dict[int, int] = {}
        for program, stores in self.written.items():
            for address in np.unique(np.concatenate(stores)).tolist():
                if writer.setdefault(address, program) != program:
                    raise KernelFaultError(f"programs {writer[address]} and {program} write to one address")
        everything = np.array(sorted(writer), dtype=np.uint64)
        for program, loads in self.read.items():
            read = np.unique(np.concatenate(loads))
            for address in read[np.isin(read, everything)].tolist():
                if writer[address] != program:
                    raise KernelFaultError(f"program {program} reads what program {writer[address]} writes")


_launch: _Launch | None = None


@contextmanager
def checked() -> Iterator[None]:
    """Check each access of the kernels that run in this context."""
    builder, executor = InterpreterBuilder, interpreter.GridExecutor
    load, store, barrier, call = (
        builder.create_masked_load,
        builder.create_masked_store,
        builder.create_barrier,
        executor.__call__,
    )

    def addresses(self: Any, pointers: Any, mask: Any) -> np.ndarray:
        assert _launch is not None
        x, y, z = self.grid_idx
        assert y == z == 0
        _launch.enter(x)
        where = np.broadcast_to(mask.data, pointers.data.shape).reshape(-1).astype(bool)
        found = np.asarray(pointers.data).reshape(-1)[where].astype(np.uint64)
        _launch.check_bounds(found, pointers.get_element_ty().primitive_bitwidth // 8)
        return found

    def checked_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        _launch.load(addresses(self, pointers, mask))
        return load(self, pointers, mask, *rest)

    def checked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        _launch.store(addresses(self, pointers, mask))
        return store(self, pointers, value, mask, *rest)

    def checked_barrier(self: Any) -> Any:
        _launch.unsettled = []
        return barrier(self)

    def checked_call(self: Any, *args: Any, **kwargs: Any) -> None:
        global _launch
        _launch = _Launch([x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)])
        call(self, *args, **kwargs)
        _launch.check_races()
        _launch = None

    builder.create_masked_load, builder.create_masked_store = checked_load, checked_store
    builder.create_barrier, executor.__call__ = checked_barrier, checked_call
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are no news on a GPU
            yield
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store
        builder.create_barrier, executor.__call__ = barrier, call


_new_empty = torch.Tensor.new_empty


def poisoned_new_empty(tensor: torch.Tensor, *size: Any, **kwargs: Any) -> torch.Tensor:
    """Stand in for ``Tensor.new_empty``, with NaN in the memory: what a kernel fails to write shows."""
    memory = _new_empty(tensor, *size, **kwargs)
    return memory.fill_(torch.nan) if memory.is_floating_point() else memory


_empty_like = torch.empty_like


def poisoned_empty_like(tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    """Stand in for ``torch.empty_like`` likewise."""
    memory = _empty_like(tensor, **kwargs)
    return memory.fill_(torch.nan) if memory.is_floating_point() else memory

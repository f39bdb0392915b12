"""Stands in for CUDA graphs: replays on the CPU, on the same memory, the operations that were recorded."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqsuite.graphs import Outputs


class Replayable(TorchDispatchMode):
    """Remembers PyTorch's operations on the memory that they work on, and undoes what they change."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for value, argument in zip(args, func._schema.arguments, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in value if isinstance(value, (list, tuple)) else [value]:
                    self.before.setdefault(tensor.data_ptr(), (tensor, tensor.clone()))
        outputs = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, tensors_in(outputs)))
        return outputs

    def undo(self) -> None:
        for tensor, before in self.before.values():
            tensor.copy_(before)

    def replay(self) -> None:
        for func, args, kwargs, outputs in self.operations:
            for kept, new in zip(outputs, tensors_in(func(*args, **kwargs)), strict=True):
                if kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)


def tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for each in value for t in tensors_in(each)] if isinstance(value, (list, tuple)) else []


class Recorder:
    """Stands in for CudaRecorder; ``warmed`` and ``recorded`` count its calls."""

    def __init__(self) -> None:
        self.warmed = self.recorded = 0

    def warm_up(self, call: Callable[[], Outputs]) -> Outputs:
        self.warmed += 1
        return call()

    def record(self, call: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        self.recorded += 1
        with Replayable() as tape:
            outputs = call()

        def replay() -> None:
            with torch.no_grad():
                tape.replay()

        with torch.no_grad():
            tape.undo()
        return outputs, replay

"""From a task's rows to tensors on a device, made ready while the model computes."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from seqsuite.tasks.base import IGNORE, Array, Batch

Item = TypeVar("Item")


class TensorBatch(NamedTuple):
    """A :class:`~seqsuite.tasks.base.Batch` as tensors.

    Attributes:
        inputs: (B, L) int64, or (B, L, C) float32.
        targets: (B, L), (B,) or (S,) int64, or (B, L, K) float32.
        lengths: (B,) int64, or ``None``.
        cu_seqlens: (S + 1,) int64 on the host, or ``None``.
        continues: Whether the model's state is carried in.
        counted: How many targets count.
        start: Place of the first position in its sequence, where the batch is a part of longer sequences.
        whole: Positions of those sequences, or ``None`` where the batch has whole ones.
        copied: When a copy to the GPU on another stream is done, or ``None``.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None
    cu_seqlens: Tensor | None
    continues: bool
    counted: int
    start: int = 0
    whole: int | None = None
    copied: torch.cuda.Event | None = None

    def arrive(self) -> "TensorBatch":
        """Let the GPU's current stream wait for the copy; the host does not."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.inputs.device)
            stream.wait_event(self.copied)
            for tensor in (self.inputs, self.targets, self.lengths):
                if tensor is not None:
                    tensor.record_stream(stream)
        return self


class Copier:
    """Copies batches to a device: to a GPU by pinned memory, on a stream beside the computation's.

    Offsets of packed rows stay on the host, where kernels read them without waiting.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, batch: Batch) -> TensorBatch:
        """Return a batch on the device; call :meth:`TensorBatch.arrive` before it is used."""
        if self._device.type != "cuda":
            return to_tensors(batch, self._device)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # untyped in PyTorch
        with torch.cuda.stream(self._stream):
            return to_tensors(batch, self._device)._replace(copied=self._stream.record_event())


def to_tensors(batch: Batch, device: torch.device) -> TensorBatch:
    """Return a batch as tensors on ``device``; to a GPU they go by pinned memory, without waiting."""

    def convert(values: Array | None) -> Tensor | None:
        if values is None:
            return None
        tensor = torch.from_numpy(values)
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    inputs, targets = convert(batch.inputs), convert(batch.targets)
    assert inputs is not None
    assert targets is not None
    return TensorBatch(
        inputs,
        targets,
        convert(batch.lengths),
        None if batch.cu_seqlens is None else torch.from_numpy(batch.cu_seqlens),
        batch.continues,
        batch.counted(),
    )


def cut(batch: TensorBatch, start: int, end: int) -> TensorBatch:
    """Return positions ``start`` to ``end`` of a batch of whole sequences with a target at each position."""
    targets = batch.targets[:, start:end]
    counts = targets.isfinite() if targets.is_floating_point() else targets != IGNORE
    return batch._replace(
        inputs=batch.inputs[:, start:end],
        targets=targets,
        counted=int(counts.sum()),
        start=start,
        whole=batch.inputs.shape[1],
    )


class Prefetcher(Generic[Item]):
    """Makes what comes next in a thread, a few items ahead; an iterator, and a context manager that ends it.

    Args:
        make: Makes item number i; what it raises is raised to who asks for that item.
        numbers: Which items, in order.
        depth: How many are held at most.

    Attributes:
        waited: Seconds that :meth:`__next__` has waited for items.
    """

    def __init__(self, make: Callable[[int], Item], numbers: Sequence[int], depth: int = 2) -> None:
        self.waited = 0.0
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(make, numbers), daemon=True, name="prefetch")
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        started = time.perf_counter()
        item, error = self._queue.get()
        self.waited += time.perf_counter() - started
        if error is not None:
            self._put((None, error))  # whoever asks again is told again
            raise error
        assert item is not None
        return item

    def __enter__(self) -> "Prefetcher[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _fill(self, make: Callable[[int], Item], numbers: Sequence[int]) -> None:
        for number in numbers:
            try:
                item = make(number)
            except BaseException as error:
                self._put((None, error))
                return
            if not self._put((item, None)):
                return
        self._put((None, StopIteration()))

    def _put(self, entry: tuple[Item | None, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

"""Checkpoints of tensors that are split over processes, by ``torch.distributed.checkpoint``.

Each process writes its parts into safetensors files of its own, whose headers say which parts of which
tensors they are; other numbers of processes read what is theirs. PyTorch's usual storage keeps that in a
pickle, which nothing here reads.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

_MARK = "in shards"
_FILE = 1 << 28  # bytes of whole tensors whose parts a file has: it is made in memory before it is written
_WRITING = timedelta(hours=6)  # the longest that processes wait for the slowest one's disk

T = TypeVar("T")


class Shards:
    """Writes what is split over all processes of a run.

    All of them call the same methods in the same order, from a thread that need not be the training's: what
    they tell each other has a process group of its own.

    Attributes:
        first: Whether this is the process that writes what is not split.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo", timeout=_WRITING)
        self.first = dist.get_rank() == 0

    def alone(self, act: Callable[[], T]) -> T:
        """Have the first process do something while the others wait; return on all what it returned.

        Raises:
            OSError: on the others, if it has failed there.
        """
        told: list[Any] = [None, ""]
        failed: Exception | None = None
        if self.first:
            try:
                told[0] = act()
            except Exception as error:
                failed, told[1] = error, str(error) or type(error).__name__
        dist.broadcast_object_list(told, src=0, group=self._group)
        if failed is not None:
            raise failed
        if told[1]:
            raise OSError(told[1])
        result: T = told[0]
        return result

    def write(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write this process's parts of tensors into files of its own.

        Args:
            folder: Where they and those of the other processes go.
            tensors: By name; in the memory of CPUs.

        Raises:
            OSError: on all processes, if one of them cannot.
        """
        files = _files(tensors)
        self._save(tensors, HuggingFaceStorageWriter(str(folder), files, save_distributed=True))

    def write_whole(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors into one file: parts first, of which the first process makes one tensor at a time.

        Raises:
            OSError: on all processes, if one of them cannot.
        """
        parts = path.with_name(f"{path.name}.parts")
        writer = HuggingFaceStorageWriter(str(parts), save_distributed=True, enable_consolidation=True)
        self._save(tensors, writer)
        self.alone(lambda: _move(parts, path))

    def _save(self, tensors: Mapping[str, Tensor], writer: HuggingFaceStorageWriter) -> None:
        writer.per_thread_copy_ahead = 0  # from a GPU; this thread would ask the first one for a stream
        try:
            save(dict(tensors), storage_writer=writer, process_group=self._group)
        except CheckpointException as error:
            raise _reason(error) from None


def _files(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of the file that each tensor's parts are in, from 1."""
    sizes = accumulate((value.numel() * value.element_size() for value in tensors.values()), initial=0)
    return {name: 1 + before // _FILE for name, before in zip(tensors, sizes, strict=False)}


def taken_apart(value: Any, name: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Take out of containers what is split over processes.

    Args:
        value: Dictionaries, lists and tuples of tensors and other values.
        name: What to call it.

    Returns:
        The containers, with a mark where each such tensor was; and these, by names such as
        ``optimizer.0.state.3.exp_avg``.
    """
    if isinstance(value, DTensor):
        return {_MARK: name}, {name: value}
    if not isinstance(value, dict | list | tuple):
        return value, {}
    split: dict[str, Tensor] = {}
    rest = {}
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        rest[key], found = taken_apart(item, f"{name}.{key}" if name else str(key))
        split |= found
    return rest if isinstance(value, dict) else list(rest.values()), split


def put_together(value: Any, folder: Path, likes: Mapping[str, Tensor]) -> Any:
    """Return the containers with what was taken out of them, read from the files of all processes.

    Args:
        value: What :func:`taken_apart` has left.
        folder: Where the files are.
        likes: Tensors of the same sizes as those that were taken out, split over the processes that there
            are now, or not at all; by the tensors' names, or by the names without their last part.

    Raises:
        ValueError: if something is missing, damaged or of another size.
    """
    names = list(_marked(value))
    if not names:
        return value
    missing = [name for name in names if _like(name, likes) is None]
    if missing:
        raise ValueError(f"it has {missing[0]}, for which there is no place")
    tensors = {name: torch.empty_like(like) for name in names if (like := _like(name, likes)) is not None}
    _read(folder, tensors)
    return _filled(value, tensors)


def _like(name: str, likes: Mapping[str, Tensor]) -> Tensor | None:
    return likes.get(name, likes.get(name.rpartition(".")[0]))


def _read(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors, or this process's parts of them."""
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one process is told that it is one process
            load(dict(tensors), storage_reader=reader, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        reason = _reason(error)
        raise ValueError(str(reason).partition("\n")[0] or type(reason).__name__) from None


def _marked(value: Any) -> Iterator[str]:
    """Yield the name of each tensor that was taken out."""
    if _is_mark(value):
        yield value[_MARK]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _marked(item)


def _filled(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if _is_mark(value):
        return tensors[value[_MARK]]
    if isinstance(value, dict):
        return {key: _filled(item, tensors) for key, item in value.items()}
    return [_filled(item, tensors) for item in value] if isinstance(value, list) else value


def _is_mark(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_MARK}


def _reason(error: CheckpointException) -> BaseException:
    """Return what went wrong on the first of the processes where something did."""
    reason: BaseException = error.failures[min(error.failures)][0]
    return reason


def _move(parts: Path, path: Path) -> None:
    """Move the whole file that was made of parts, and delete those.

    Its header is padded as safetensors pads its own, so that numbers lie at their multiples in memory.
    """
    (whole,) = parts.glob("*.safetensors")
    with whole.open("rb") as source, path.open("wb") as target:
        header = source.read(int.from_bytes(source.read(8), "little"))
        padded = header + b" " * (-len(header) % 8)
        target.write(len(padded).to_bytes(8, "little") + padded)
        shutil.copyfileobj(source, target)
    shutil.rmtree(parts)

"""How much memory training a cell takes, estimated without training it, and how much is free."""

import logging
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.models.base import Block
from seqsuite.models.build import build_shaped
from seqsuite.tasks.base import ModelIO

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_LOGITS = 3  # the logits, their log-softmax and the gradient are there at once
_WORKING = 2  # what a layer keeps, and as much again for its gradients
_PROGRAM = 10**9  # address space that the program still takes: stacks of threads, MLflow, compiled kernels
_ADAM = 2  # numbers that AdamW keeps for each weight
_LARGEST = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training takes besides what the program itself does.

    Attributes:
        weights: Of the parameters.
        gradients: Of their gradients.
        optimizer: Of AdamW's two moments.
        activations: Of what the forward pass keeps for the backward pass, and of the loss; ``None`` where the
            model cannot be followed without computing.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int | None

    @property
    def total(self) -> int:
        """Return all of it; at least that much, where the activations are not known."""
        return self.weights + self.gradients + self.optimizer + (self.activations or 0)

    def __str__(self) -> str:
        parts = {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        known = {**parts, "activations": self.activations} if self.activations is not None else parts
        return ", ".join(f"{name} {gigabytes(size)}" for name, size in known.items())


def estimate_memory(config: CellConfig, io: ModelIO) -> MemoryEstimate:
    """Estimate what training a cell takes.

    The model is built and run on tensors that have a shape and no content, and the tensors that autograd
    keeps are counted; the backward pass works on one layer at a time. An evaluation keeps no layer but that.
    Against what ten models take in truth (4 blocks of width 128, batches of 8 x 512), the estimate is
    between 0.9 and 1.3 of that.

    Args:
        config: The cell.
        io: What its model takes and gives.

    Raises:
        UserError: if the model's options contradict each other.
    """
    batch = -(-config.train.batch_size // config.train.accumulate)
    eval_batch = config.train.eval_batch_size
    io = replace(io, seqlen=min(io.seqlen, config.train.chunk or io.seqlen))
    shape, seqlen = shape_of(io), io.seqlen
    with FakeTensorMode(allow_non_fake_inputs=True), _unheard(fake_tensor.log):
        model = build_shaped(config.model, shape)
        weights = sum(parameter.nbytes for parameter in model.parameters())
        kept = _kept(model, io, batch)
    width = shape.n_outputs or io.vocab_size
    logits = 0 if io.n_classes is not None or width is None else _LOGITS * 4 * seqlen * width
    activations = None
    if kept is not None:
        blocks = sum(isinstance(module, Block) for module in model.modules())
        working = _WORKING * kept // max(blocks, 1)
        activations = max(
            kept + working + batch * logits, working * eval_batch // batch + eval_batch * logits
        )
    return MemoryEstimate(weights, weights, _ADAM * weights, activations)


@contextmanager
def _unheard(log: logging.Logger) -> Iterator[None]:
    """Keep PyTorch from printing the traceback of a layer's fault, which training will tell in a sentence."""
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def _kept(model: torch.nn.Module, io: ModelIO, batch: int) -> int | None:
    """Return the bytes that a forward pass keeps for the backward pass, each storage once.

    Sizes that 64 bits do not hold count as the largest that they do; ``None`` is for a model that cannot be
    followed.
    """
    known = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage  # held, so that its address is not given to another
        return tensor

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            if io.d_input is None:
                inputs = torch.zeros(batch, io.seqlen, dtype=torch.long)
            else:
                inputs = torch.zeros(batch, io.seqlen, io.d_input)
            outputs = model(inputs).flatten(0, -2).float()
            F.cross_entropy(outputs, torch.zeros(len(outputs), dtype=torch.long))
    except (Exception, SystemExit) as error:  # a layer of a plug-in that looks at values
        return _LARGEST if "overflow" in str(error).lower() else None
    return sum(storage.nbytes() for storage in kept.values())


def memory_faults(
    cells: Sequence[CellConfig], device: torch.device, measured: Sequence[int | None] = ()
) -> list[UserError | None]:
    """Find the cells that need more memory than is free on ``device``, as measured or else estimated.

    Those with ``run.memory=ignore`` are left alone.

    Args:
        cells: What is to be run.
        device: Where.
        measured: What was measured of each cell, where it was.

    Returns:
        For each cell what it needs, and of what, or ``None``.
    """
    free = free_memory(device) if any(cell.run.memory == "check" for cell in cells) else None
    if free is None:
        return [None] * len(cells)
    faults: list[UserError | None] = []
    for cell, size in zip(cells, _needs(cells, measured), strict=True):
        fits = size is None or size[0] <= free
        faults.append(None if fits or size is None else _too_large(cell, *size, free))
    return faults


def together_fault(
    cells: Sequence[CellConfig], device: torch.device, at_once: int, measured: Sequence[int | None] = ()
) -> UserError | None:
    """Return what is wrong with running so many cells at once on a device, or ``None`` if all might be.

    Args:
        cells: What is to be run; each fits alone.
        device: What they share.
        at_once: How many do: the largest might run together.
        measured: What was measured of each cell, where it was.
    """
    checked = at_once > 1 and any(cell.run.memory == "check" for cell in cells)
    free = free_memory(device) if checked else None
    if free is None:
        return None
    sizes = sorted((size[0] for size in _needs(cells, measured) if size is not None), reverse=True)
    together = sum(sizes[:at_once])
    if together <= free:
        return None
    return UserError(
        f"{at_once} cells at once need more memory than there is: about {gigabytes(together)}, and "
        f"{gigabytes(free)} are free; choose a smaller run.parallel."
    )


def _needs(cells: Sequence[CellConfig], measured: Sequence[int | None]) -> list[tuple[int, str] | None]:
    """Return the bytes that each cell needs and how that is known; ``None`` where it is not to be checked."""
    estimates = iter(estimate_cells([cell for cell in cells if cell.run.memory == "check"]))
    sizes: list[tuple[int, str] | None] = []
    for cell, size in zip(cells, measured or [None] * len(cells), strict=True):
        estimate = next(estimates) if cell.run.memory == "check" else None
        if estimate is None:
            sizes.append(None)
        else:
            sizes.append((estimate.total, str(estimate)) if size is None else (size, "measured"))
    return sizes


def _too_large(cell: CellConfig, size: int, how: str, free: int) -> UserError:
    return UserError(
        f"{cell.title} needs more memory than there is: about {gigabytes(size)} ({how}), and "
        f"{gigabytes(free)} are free; choose a smaller train.batch_size, model or sequence, or try it all "
        "the same with run.memory=ignore."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def estimate_cells(cells: Sequence[CellConfig]) -> list[MemoryEstimate]:
    """Return the estimate of each cell; those that differ in nothing that counts share one.

    Raises:
        UserError: if a cell's task or model contradicts itself.
    """
    known: dict[tuple[object, ...], MemoryEstimate] = {}
    estimates = []
    for cell in cells:
        io = cell.make_task().io
        key = (
            cell.model.model_dump_json(),
            io,
            cell.train.batch_size,
            cell.train.accumulate,
            cell.train.eval_batch_size,
            cell.train.chunk,
        )
        if key not in known:
            known[key] = estimate_memory(cell, io)
        estimates.append(known[key])
    return estimates


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that can still be had on a device, or ``None`` where the system does not say.

    On a CPU that is the least of what the machine has available, what the control groups of this process
    leave, and what its own limit of address space does.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [_available(), _left_in_cgroups(), _left_of_address_space()]
    return min((size for size in found if size is not None), default=None)


def _available() -> int | None:
    return _kilobytes(PROC / "meminfo", "MemAvailable:")


def _left_of_address_space() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _kilobytes(PROC / "self" / "status", "VmSize:")
    if limit == resource.RLIM_INFINITY or used is None:
        return None
    return max(limit - used - _PROGRAM, 0)


def _left_in_cgroups() -> int | None:
    """Return what is left in the tightest control group (version 2 or 1) that this process is in."""
    left = []
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        version_1 = controllers == "memory"
        root = CGROUPS / "memory" if version_1 else CGROUPS
        limit_name = "memory.limit_in_bytes" if version_1 else "memory.max"
        used_name = "memory.usage_in_bytes" if version_1 else "memory.current"
        group = root / name.strip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and used is not None:
                # Files that were read count as used, but give way.
                cached = _field(folder / "memory.stat", "inactive_file") or 0
                left.append(max(limit - used + cached, 0))
    return min(left, default=None)


def _number(path: Path) -> int | None:
    text = "".join(_lines(path))
    return int(text) if text.isdigit() else None


def _kilobytes(path: Path, key: str) -> int | None:
    size = _field(path, key)
    return None if size is None else size * 1024


def _field(path: Path, key: str) -> int | None:
    return next((int(line.split()[1]) for line in _lines(path) if line.split()[:1] == [key]), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def gigabytes(size: int) -> str:
    """Return a size in its unit: ``1.2 GB``, ``85 MB``."""
    if size < 1e9:
        return f"{max(size / 1e6, 1):.0f} MB"
    return f"{size / 1e9:.1f} GB" if size < 1e12 else f"{size / 1e12:,.1f} TB"

"""Checkpoints on disk: only whole ones are read, and only a newer whole one replaces one.

A checkpoint is a folder ``step-N`` with ``model.safetensors`` and ``config.json``, which is all that using
the model takes, ``training.pt`` (tensors and numbers only), which is what resuming adds, and
``manifest.json`` with the sizes and hashes of the others, written last. Where the optimizer's state is split
over processes, each has written its part of it into ``shards`` (:mod:`.distributed.shards`). The folder is
made under another name, flushed to disk and then renamed. Each says which was the best when it was saved, so
that both change in one step.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import seqsuite
from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.models.config import ModelShape
from seqsuite.models.formats import native
from seqsuite.models.formats.files import CONFIG, WEIGHTS
from seqsuite.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from seqsuite.experiments.distributed.shards import Shards

TRAINING = "training.pt"
SHARDS = "shards"
MANIFEST = "manifest.json"

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds, in memory of the CPU that training no longer changes.

    Tensors that are split over processes are so here too; then each process has a snapshot of its own.

    Attributes:
        step: How many steps the model was trained for.
        weights: The weights to use the model with, by name; shared ones once.
        training: State to resume from, of tensors, numbers, strings and containers of them.
        best_step: Step of the best checkpoint so far, this one's where it is that; 0 if there is none.
    """

    step: int
    weights: Mapping[str, Tensor]
    training: Mapping[str, Any]
    best_step: int = 0


class Checkpoints:
    """The checkpoints of a cell in progress: the newest two and the best.

    They are written in a thread of their own, one at a time; what fails there is raised by the next
    :meth:`save` or :meth:`wait`.

    Args:
        folder: Where they go; created if missing.
        config: The cell's configuration.
        shape: What the model was built from besides.
        keep_last: How many of the newest to keep.
        shards: How all processes of the run write together; ``None`` where one has everything and writes it.

    Attributes:
        seconds: What the last one took to write.
    """

    def __init__(
        self,
        folder: Path,
        config: CellConfig,
        shape: ModelShape,
        *,
        keep_last: int = 2,
        shards: "Shards | None" = None,
    ) -> None:
        self.folder, self._shards = folder, shards
        self._description = {
            native.MARK: seqsuite.__version__,
            "shape": asdict(shape),
            "config": config.model_dump(mode="json", exclude={"run"}),
        }
        self._keep_last = keep_last
        self.seconds = 0.0
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Start to write a checkpoint, once the one before is written.

        Args:
            snapshot: What it holds.

        Raises:
            UserError: if the one before could not be written, for want of space or permission.
        """
        self.wait()
        self._thread = threading.Thread(target=self._write_safely, args=(snapshot,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return once everything is on disk.

        Raises:
            UserError: if something could not be written; older checkpoints are kept.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, or ``None``; damaged ones are named in a notice."""
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            reason = what_is_wrong(folder)
            if reason is None:
                return folder
            log.warning("The checkpoint %s is damaged (%s); going back to the one before", folder, reason)
        return None

    def best(self) -> Path | None:
        """Return the best checkpoint as the newest one knows it, or ``None`` if there is no whole one."""
        newest = self.newest()
        folder = None if newest is None else self._folder(_best_step(newest))
        return folder if folder is not None and what_is_wrong(folder) is None else None

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _write_safely(self, snapshot: Snapshot) -> None:
        started = time.monotonic()
        try:
            self.write(snapshot)
            self.seconds = time.monotonic() - started
        except (OSError, SafetensorError) as error:
            self._error = UserError(
                f"The checkpoint in {self.folder} cannot be written: {_reason(error)}; make room or set "
                "run.output to another folder, then run the same command to go on from the one before."
            )
        except Exception as error:  # such as a broken connection to another process
            self._error = error

    def write(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, then delete those that are no longer kept."""
        folder, best = self._folder(snapshot.step), self._folder(snapshot.best_step)
        # An evaluation may follow at the same step, after an interruption, and find it the best.
        if self._alone(lambda: what_is_wrong(folder) is not None or _best_step(folder) != snapshot.best_step):
            self._make(folder, snapshot)
        self._alone(lambda: self._tidy(best))

    def _alone(self, act: Callable[[], T]) -> T:
        """Have one process do something; all return what it returned, or fail as it does."""
        return act() if self._shards is None else self._shards.alone(act)

    def _tidy(self, best: Path) -> None:
        whole = [
            path for path in sorted(self.folder.glob("step-*")) if what_is_wrong(path, quick=True) is None
        ]
        for stale in whole[: -self._keep_last]:
            if stale != best:
                shutil.rmtree(stale)

    def _make(self, folder: Path, snapshot: Snapshot) -> None:
        """Write a checkpoint under another name and move it into place."""
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            self._alone(lambda: self._begin(partial, snapshot))
            training = self._write_tensors(partial, snapshot)
            self._alone(lambda: _complete(partial, folder, training))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _begin(self, partial: Path, snapshot: Snapshot) -> None:
        """Make a folder with a description, in the place of what a kill has left."""
        for left in self.folder.glob(".step-*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        description = {**self._description, "step": snapshot.step, "best_step": snapshot.best_step}
        (partial / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    def _write_tensors(self, partial: Path, snapshot: Snapshot) -> dict[str, Any]:
        """Write the weights, and what is split of the training state; return what is left of this."""
        if self._shards is None:
            save_file(dict(snapshot.weights), partial / WEIGHTS)
            return dict(snapshot.training)
        from seqsuite.experiments.distributed.shards import taken_apart

        rest, split = taken_apart(snapshot.training)
        self._shards.write(partial / SHARDS, split)
        self._shards.write_whole(partial / WEIGHTS, snapshot.weights)
        return dict(rest)


def _complete(partial: Path, folder: Path, training: dict[str, Any]) -> None:
    """Add the training state and the manifest to what is written, and give the folder its name."""
    # safetensors makes files that only their owner can read.
    os.chmod(partial / WEIGHTS, (partial / CONFIG).stat().st_mode)
    try:
        torch.save(training, partial / TRAINING)
    except RuntimeError as error:  # all that PyTorch's writer says of a full disk
        raise OSError(str(error)) from error
    written = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest = {path.relative_to(partial).as_posix(): _entry(path) for path in written}
    for path in (*written, *(path for path in partial.iterdir() if path.is_dir())):
        _flush_to_disk(path)
    _replace_text(partial / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    if folder.exists():  # damaged, or of before an evaluation
        shutil.rmtree(folder)
    os.replace(partial, folder)
    _flush_to_disk(folder.parent)


def what_is_wrong(folder: Path, *, quick: bool = False) -> str | None:
    """Return why a folder holds no whole checkpoint, or ``None`` if it does.

    Args:
        folder: The checkpoint.
        quick: Whether to compare sizes only, not hashes.
    """
    name = MANIFEST
    try:
        manifest = json.loads((folder / name).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            path = folder / name
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {expected['bytes']}"
            if not quick and _hash(path) != expected["sha256"]:
                return f"{name} has other content than was written"
    except FileNotFoundError:
        return f"there is no {name}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if number := re.search(r"\(os error (\d+)\)", str(error)):  # as safetensors puts it
        return os.strerror(int(number[1]))
    if "inline_container" in str(error):  # all that PyTorch's writer says
        return "less was written than there was to write, as on a full disk"
    return str(error).rstrip(".")


def _best_step(folder: Path) -> int:
    """Return the step of the best checkpoint when a whole one was saved; 0 if there was none."""
    try:
        return int(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["best_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def weights_of(model: SequenceModel) -> dict[str, Tensor]:
    """Return copies of a model's weights in CPU memory, each shared one once, under its first name.

    Those that are split over processes stay so.
    """
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in first_named(model).items()
    }


def first_named(model: SequenceModel) -> dict[str, Tensor]:
    """Return a model's weights, each shared one once, under its first name."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            seen.add(id(value))
            weights[name] = value
    return weights


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _hash(path)}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace_text(path: Path, text: str) -> None:
    """Write a small file, flushed, in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    _flush_to_disk(partial)
    os.replace(partial, path)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

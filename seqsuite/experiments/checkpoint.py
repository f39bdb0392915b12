"""Checkpoints on disk: written whole or not at all, and read without unpickling code.

A checkpoint is a folder with ``model.safetensors`` and ``config.json``, which is all that using the model
takes, and ``training.pt`` (tensors and numbers only), which is what resuming adds.
"""

import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

import seqsuite
from seqsuite.errors import UserError
from seqsuite.experiments.config import CellConfig
from seqsuite.models.formats import native
from seqsuite.models.formats.files import CONFIG, UNFIT, WEIGHTS, read_description
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.tasks import TASKS
from seqsuite.tasks.base import TaskSpec

TRAINING = "training.pt"


@dataclass(frozen=True)
class Shape:
    """What of a task a model is built from."""

    vocab_size: int
    seqlen: int

    @classmethod
    def of(cls, spec: TaskSpec) -> "Shape":
        """Return the shape of the task with this specification."""
        return cls(spec.vocab_size, spec.seqlen)


def save_checkpoint(
    folder: Path,
    *,
    model: LanguageModel,
    config: CellConfig,
    shape: Shape,
    step: int,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint to ``folder``, replacing one that is there.

    Everything is written to a temporary folder beside it, flushed to disk, and moved into place, so that a
    crash leaves the old checkpoint or the new one.

    Args:
        folder: Where the checkpoint goes.
        model: The model whose weights to save.
        config: The cell's configuration.
        shape: What the model was built from besides.
        step: How many steps it was trained for.
        training: State to resume from, of tensors, numbers, strings and containers of them.

    Raises:
        UserError: if it cannot be written, for want of space or permission; an older one is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_model(model, str(partial / WEIGHTS))
        description = {
            native.MARK: seqsuite.__version__,
            "step": step,
            "shape": asdict(shape),
            "config": config.model_dump(mode="json", exclude={"run"}),
        }
        (partial / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        if training is not None:
            torch.save(dict(training), partial / TRAINING)
        for path in partial.iterdir():
            _flush_to_disk(path)
        if folder.exists():
            stale = partial.with_name(partial.name + "-old")
            os.replace(folder, stale)
            os.replace(partial, folder)
            shutil.rmtree(stale)
        else:
            os.replace(partial, folder)
        _flush_to_disk(folder.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"The checkpoint {folder} cannot be written: {error}.") from error


def load_for_inference(folder: Path) -> tuple[LanguageModel, CellConfig]:
    """Return the model of a checkpoint, in evaluation mode, and the configuration it was trained with.

    Raises:
        UserError: if the folder holds no checkpoint that this version can read.
    """
    try:
        description = read_description(folder)
        config = CellConfig.model_validate(description["config"])
        model = native.read(folder, description)
    except (UserError, *UNFIT) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"{folder} holds no checkpoint that this version can read: {reason}.") from error
    return model.eval(), config


def reads_bytes(description: Mapping[str, Any]) -> bool:
    """Return whether a model's ``config.json`` says that its tokens are the bytes of text."""
    task = native.settings_of(description).get("task")
    name = task.get("name") if isinstance(task, dict) else None
    return name in TASKS.names() and getattr(TASKS.load(name), "units", None) == "bytes"


def load_training(folder: Path, model: LanguageModel) -> dict[str, Any]:
    """Load a checkpoint's weights into ``model`` and return its training state.

    Raises:
        UserError: if the checkpoint is damaged.
    """
    try:
        load_model(model, str(folder / WEIGHTS))
        state: dict[str, Any] = torch.load(folder / TRAINING, weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"The checkpoint {folder} cannot be resumed from ({reason}): start afresh with --force."
        ) from error
    return state


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Reading checkpoints: the model alone, to use it, or all that training goes on from."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoints import SHARDS, TRAINING, first_named
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.models.formats import native
from seqsuite.models.formats.files import UNFIT, WEIGHTS, read_description
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks import TASKS

_BYTES = 256


def load_for_inference(folder: Path) -> tuple[SequenceModel, CellConfig]:
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
    """Return whether a model's ``config.json`` says that its tokens are the bytes of text.

    The data of a task of text may have a tokenizer of its own: then the vocabulary is not that of bytes, or
    the tokenizer lies beside the model.
    """
    task, shape = native.settings_of(description).get("task"), description.get("shape")
    if not isinstance(task, dict) or task.get("name") not in TASKS.names():
        return False
    if not isinstance(shape, dict) or shape.get("vocab_size") != _BYTES:
        return False
    has_tokenizer = task.get("tokenizer", "bytes") != "bytes"
    return not has_tokenizer and getattr(TASKS.load(task["name"]), "units", None) == "bytes"


def load_training(
    folder: Path,
    model: SequenceModel,
    cut: Callable[[Tensor, Tensor], Tensor] = lambda value, _: value,
    likes: Mapping[str, Tensor] | None = None,
    *,
    mapped: bool = False,
) -> dict[str, Any]:
    """Load a checkpoint's weights into ``model`` and return its training state.

    Args:
        folder: The checkpoint.
        model: The model, on whatever devices.
        cut: Returns of a whole tensor what belongs into another (see ``Placement.cut``).
        likes: What tensors of the training state are like, where they were written split over processes
            (see :func:`.distributed.shards.put_together`); they are split as these are.
        mapped: Whether other tensors of the training state stay on disk until something is cut from them.

    Raises:
        UserError: if the checkpoint is damaged.
    """
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            _fill(first_named(model), file, cut)
        state = torch.load(folder / TRAINING, weights_only=True, mmap=mapped)
        if not isinstance(state, dict):
            raise ValueError(f"{TRAINING} holds no training state")
        if (folder / SHARDS).is_dir():
            from seqsuite.experiments.distributed.shards import put_together

            state = put_together(state, folder / SHARDS, likes or {})
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        # Unpickling's own message advises to run whatever the file holds.
        unpickled = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged" if unpickled else str(error).partition("\n")[0]
        raise UserError(
            f"The checkpoint {folder} cannot be resumed from ({reason}): start afresh with --force."
        ) from error
    return dict(state)


@torch.no_grad()
def _fill(weights: Mapping[str, Tensor], file: Any, cut: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Copy the tensors of an open safetensors file into the weights of their names, one after the other.

    Raises:
        ValueError: if the names or shapes differ.
    """
    if weights.keys() != set(file.keys()):
        raise ValueError(f"it has other weights: {', '.join(sorted(weights.keys() ^ set(file.keys())))}")
    for name, weight in weights.items():
        value = file.get_tensor(name)
        if weight.shape != value.shape:
            raise ValueError(f"{name} has another shape")
        weight.copy_(cut(value, weight))

"""Folders of checkpoints: where they are, and what weights and descriptions are in them."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seqsuite.errors import UserError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_TEXT_FILES = ("*.json", "*.txt", "*.model")
"""Configurations and tokenizers."""


def locate(folder_or_name: str | Path, revision: str | None = None, *, weights: bool = True) -> Path:
    """Return the folder of a checkpoint, fetched from the Hugging Face hub if it is not a local one.

    Args:
        folder_or_name: A folder, or a name on the hub such as ``"state-spaces/mamba-130m"``.
        revision: Branch, tag or commit on the hub.
        weights: Whether weights are needed, or only the small files beside them.

    Raises:
        UserError: if there is no such folder, or the hub does not have or give it.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        return folder
    name = str(folder_or_name)
    if not _HUB_NAME.fullmatch(name):
        raise UserError(f"There is no folder {name!r}, and no model on the hub is called so (OWNER/NAME is).")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"There is no folder {name!r}, and fetching it from the hub needs the extra hf: "
            "pip install 'seqsuite[hf]'."
        ) from error
    try:
        patterns = [*_TEXT_FILES, "*.safetensors"] if weights else list(_TEXT_FILES)
        fetched = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
        if weights and not list(fetched.glob("*.safetensors")):
            snapshot_download(name, revision=revision, allow_patterns=[f"{Path(PICKLED).stem}*.bin"])
    except (OSError, ValueError, RuntimeError) as error:  # the hub's errors and the network's are of these
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"There is no folder {name!r}, and the hub does not give such a model: {reason}."
        ) from error
    return fetched


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of the folder's ``config.json``.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    try:
        description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no model that can be read: {CONFIG}: {error}.") from error
    if not isinstance(description, dict):
        raise UserError(f"{folder} holds no model that can be read: {CONFIG} is not a table.")
    return description


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's files, safetensors before pickled ones, in one file or in several.

    Pickled files are read with ``weights_only``: code in them is not run.

    Raises:
        UserError: if there are none, or one is missing, damaged, or not only tensors.
    """
    for name in (WEIGHTS, PICKLED):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return _read_file(folder / name)
        if index.is_file():
            weights: dict[str, Tensor] = {}
            for part in _parts(index):
                weights |= _read_file(part)
            return weights
    raise UserError(f"{folder} holds no weights: neither {WEIGHTS} nor {PICKLED} is there.")


def _parts(index: Path) -> list[Path]:
    """Return the files that an index names, which lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is damaged: {error}.") from error
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index} names a file outside its folder: {name!r}.")
    return [index.parent / name for name in names]


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"The weights {path} cannot be read: {reason}.") from error
    return weights

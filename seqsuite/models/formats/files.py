"""Folders of checkpoints: where they are, and what weights and descriptions are in them.

A folder may come from anyone. What is read from it is data, checked before it is believed; whatever is wrong
with it is one sentence.
"""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from seqsuite.errors import UserError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"

UNFIT = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What PyTorch and Python raise when a layer is made of sizes that none can have, such as 10^18."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_TEXT_FILES = ("*.json", "*.txt", "*.model")
"""Configurations and tokenizers."""
_LONGEST_JSON = 64 << 20
"""Bytes of a description or an index; those of the largest models have less than one hundredth."""


def locate(folder_or_name: str | Path, revision: str | None = None, *, weights: bool = True) -> Path:
    """Return the folder of a checkpoint, fetched from the Hugging Face hub if it is not a local one.

    Args:
        folder_or_name: A folder, or a name on the hub such as ``"state-spaces/mamba-130m"``.
        revision: Branch, tag or commit on the hub.
        weights: Whether weights are needed, or only the small files beside them.

    Raises:
        UserError: if there is no such folder, or the hub does not have or give it.
    """
    name = str(folder_or_name)
    try:
        folder = Path(folder_or_name).expanduser()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name too long or with a NUL in it
        raise UserError(f"There is no folder {name!r}: {error}.") from error
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
        description = _read_json(folder / CONFIG)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder} holds no model that can be read: {CONFIG}: {error}.") from error
    if not isinstance(description, dict):
        raise UserError(f"{folder} holds no model that can be read: {CONFIG} is not a table.")
    return description


def check_inside(folder: Path, path: Path) -> None:
    """Refuse a file that a link puts outside of its folder, before it is copied to where others read it.

    The hub's cache is no exception: it keeps contents beside a model's folders and links to them.

    Raises:
        UserError: if it lies elsewhere.
    """
    root, target = folder.resolve(), path.resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    if not any(target.is_relative_to(allowed) for allowed in roots):
        raise UserError(f"{path} is a link out of its folder and is not followed: put the file itself there.")


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
        names = set(_read_json(index)["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index} is damaged: {error}.") from error
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{index} is damaged: {name!r} is no file's name.")
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise UserError(f"{index} names a file outside its folder: {name!r}.")
    return [index.parent / name for name in sorted(names)]


def _read_json(path: Path) -> Any:
    if path.stat().st_size > _LONGEST_JSON:
        raise ValueError(f"it is longer than {_LONGEST_JSON >> 20} MiB")
    return json.loads(path.read_text(encoding="utf-8"))


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose own message advises to run whatever the file holds
        reason = "they are damaged, or more than tensors"
        raise UserError(f"The weights {path} cannot be read: {reason}.") from error
    except Exception as error:  # what unpickling damaged bytes may raise is anything
        raise UserError(f"The weights {path} cannot be read: {first_line(error)}.") from error
    if not isinstance(weights, dict):
        raise UserError(f"The weights {path} are no table of tensors by name.")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise UserError(f"The weights {path} are no table of tensors by name: {name!r} is none.")
    return weights


def check_floating(name: str, dtype: torch.dtype) -> None:
    """Refuse whole or complex numbers in place of a weight, which loading would convert without a word.

    Raises:
        UserError: if ``dtype`` is not floating.
    """
    if not dtype.is_floating_point:
        kind = str(dtype).removeprefix("torch.")
        raise UserError(f"The weight {name} holds {kind}, not floating-point numbers.")


def first_line(error: BaseException) -> str:
    """Return what an error says, as the end of a sentence."""
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__

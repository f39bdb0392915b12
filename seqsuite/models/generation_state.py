"""Generations in files: what is written, and what must hold before it is believed.

A state is a safetensors file. Its tensors are the states of the random generators, the tokens that were seen,
and for each group of sequences its rows, the tokens to feed next and each block's state.
Its metadata says the rest.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.models.base import State
from seqsuite.models.sampling import Sampling
from seqsuite.models.sequence_model import BackboneState, LanguageModel

_VERSION = "1"
_COMPLEX = ".complex"  # marks a complex tensor, which safetensors only has in single precision
_LONGEST = 1 << 53
"""More tokens than any sequence has."""


@dataclass(frozen=True)
class SavedGroup:
    """Sequences that are computed together.

    Attributes:
        rows: Their places (b,) in the batch, int64.
        pending: Tokens (b, l), l ≥ 1, that come next and are not fed yet, int64.
        state: The model's state after what it was fed.
    """

    rows: Tensor
    pending: Tensor
    state: BackboneState


@dataclass(frozen=True)
class SavedGeneration:
    """All that the next tokens follow from, besides the model's weights.

    Attributes:
        sampling: How tokens are drawn.
        generators: State of each sequence's random generator.
        seen: Which tokens each sequence has, (B, V) bool, where the sampling asks for it.
        groups: The sequences.
    """

    sampling: Sampling
    generators: Sequence[Tensor]
    seen: Tensor | None
    groups: Sequence[SavedGroup]


def write_state(path: Path, saved: SavedGeneration, model_id: str) -> None:
    """Write a generation of the model called ``model_id``.

    Raises:
        UserError: if it cannot be written.
    """
    tensors = {f"generator.{row}": state for row, state in enumerate(saved.generators)}
    if saved.seen is not None:
        tensors["seen"] = saved.seen
    for number, group in enumerate(saved.groups):
        tensors |= {f"group.{number}.rows": group.rows, f"group.{number}.pending": group.pending}
        for block, state in enumerate(group.state.blocks):
            tensors |= {f"group.{number}.block.{block}.{key}": value for key, value in state.items()}
    about = {
        "seqsuite.generation": _VERSION,
        "model": model_id,
        "sampling": json.dumps(asdict(saved.sampling)),
        "groups": json.dumps([[group.state.position, len(group.state.blocks)] for group in saved.groups]),
    }
    try:
        save_file(dict(map(_storable, tensors.items())), path, metadata=about)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The state cannot be written to {path}: {error}.") from error


def read_state(path: Path, model: LanguageModel, model_id: str) -> SavedGeneration:
    """Return the generation in a file, on the model's device.

    Raises:
        UserError: if the file is not there, damaged, or of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"The state {path} cannot be read: {error}.") from error
    if about.get("seqsuite.generation") != _VERSION:
        raise UserError(f"The file {path} holds no state of a generation of this version.")
    if about.get("model") != model_id:
        raise UserError(f"The state {path} is of another model: {about.get('model')}, not {model_id}.")
    try:
        return _checked(about, dict(map(_restored, tensors.items())), model)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:  # RuntimeError: JSON nested without end
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise UserError(f"The state {path} is damaged: {reason}.") from error


def _checked(about: dict[str, str], tensors: dict[str, Tensor], model: LanguageModel) -> SavedGeneration:
    """Return what a file says, if it can be true of the model.

    Raises:
        ValueError, TypeError, KeyError: if it cannot; the message says why.
    """
    sampling = _sampling(json.loads(about["sampling"]))
    positions = json.loads(about["groups"])
    if not isinstance(positions, list) or not positions:
        raise ValueError("it has no sequences")
    groups = [
        _group(tensors, f"group.{number}.", position, model) for number, position in enumerate(positions)
    ]
    rows = torch.cat([group.rows for group in groups])
    size = len(rows)
    if not torch.equal(rows.sort().values.cpu(), torch.arange(size)):
        raise ValueError("its groups do not share out the sequences")
    generators = [tensors[f"generator.{row}"] for row in range(size)]
    for state in generators:
        _check_tensor("a random generator", state, torch.uint8, tuple(torch.Generator().get_state().shape))
        torch.Generator().set_state(state)
    seen = tensors.get("seen")
    if (seen is not None) != (sampling.repetition_penalty != 1):
        raise ValueError("the tokens seen and the repetition penalty do not belong together")
    if seen is not None:
        _check_tensor("seen", seen, torch.bool, (size, model.vocab_size))
        seen = seen.to(model.embedding.weight.device)
    return SavedGeneration(sampling, generators, seen, groups)


def _sampling(values: Any) -> Sampling:
    defaults = asdict(Sampling())
    if not isinstance(values, dict) or values.keys() != defaults.keys():
        raise ValueError(f"its sampling is {values!r}")
    for key, value in values.items():
        whole = key == "top_k"
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not (number and abs(value) < _LONGEST) and not (whole and value is None):
            raise ValueError(f"its sampling has {key}={value!r}")
    return Sampling(**values)


def _group(tensors: dict[str, Tensor], prefix: str, about: Any, model: LanguageModel) -> SavedGroup:
    match about:
        case [int(position), int(n_blocks)] if 0 <= position < _LONGEST:
            pass
        case _:
            raise ValueError(f"a group of sequences is {about!r}")
    rows, pending = tensors[f"{prefix}rows"], tensors[f"{prefix}pending"]
    _check_tensor("rows", rows, torch.int64, (len(rows),) if rows.dim() else ())
    size = len(rows)
    if pending.dim() != 2 or pending.shape[1] < 1:
        raise ValueError(f"pending has shape {tuple(pending.shape)}")
    _check_tensor("pending", pending, torch.int64, (size, pending.shape[1]))
    if size == 0 or not ((pending >= 0) & (pending < model.vocab_size)).all():
        raise ValueError(f"a pending token is none of the {model.vocab_size}")
    limit = model.longest_input
    if limit is not None and position + pending.shape[1] > limit:
        raise ValueError(f"{position} tokens were fed to a model that can take {limit}")
    fresh = model.initial_state(size).blocks
    if n_blocks != len(fresh):
        raise ValueError(f"it has {n_blocks} states of blocks, and the model {len(fresh)}")
    device = model.embedding.weight.device
    blocks = []
    for block, expected in enumerate(fresh):
        state = {key: tensors[f"{prefix}block.{block}.{key}"] for key in expected}
        _check_block(block, state, expected, position)
        blocks.append({key: value.to(device) for key, value in state.items()})
    return SavedGroup(rows.to(device), pending.to(device), BackboneState(position, tuple(blocks)))


def _check_block(block: int, state: State, fresh: State, position: int) -> None:
    """Compare a block's state with a fresh one's, in which the length of what grows is 0."""
    for key, expected in fresh.items():
        value = state[key]
        sizes = tuple(
            found if size == 0 and found <= position else size
            for size, found in zip(expected.shape, value.shape, strict=False)
        )
        if value.dim() != expected.dim():
            sizes = tuple(expected.shape)
        _check_tensor(f"{key} of block {block}", value, expected.dtype, sizes)


def _check_tensor(name: str, value: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if value.dtype != dtype or tuple(value.shape) != shape or not value.dim():
        found = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        raise ValueError(f"{name} is {found}, not {str(dtype).removeprefix('torch.')} {shape}")


def _storable(item: tuple[str, Tensor]) -> tuple[str, Tensor]:
    name, value = item
    if not value.is_complex():
        return name, value.contiguous()
    return name + _COMPLEX, torch.view_as_real(value.resolve_conj()).contiguous()


def _restored(item: tuple[str, Tensor]) -> tuple[str, Tensor]:
    name, value = item
    if not name.endswith(_COMPLEX) or not value.is_floating_point() or value.shape[-1:] != (2,):
        return item
    return name.removesuffix(_COMPLEX), torch.view_as_complex(value)

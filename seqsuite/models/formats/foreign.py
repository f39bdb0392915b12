"""Models in other projects' formats: found by their description, read and written by a table of names."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.formats import mamba, mamba2
from seqsuite.models.formats.files import CONFIG, WEIGHTS, check_floating, read_weights
from seqsuite.models.formats.layout import Description, Layout, whole_number
from seqsuite.models.sequence_model import LanguageModel

HUGGING_FACE = {
    "mamba": ("MambaForCausalLM", mamba.HUGGING_FACE),
    "mamba2": ("Mamba2ForCausalLM", mamba2.HUGGING_FACE),
}
"""Hugging Face's ``model_type`` to its architecture and layout."""

_ORIGINAL = {"Mamba1": mamba.ORIGINAL, "Mamba2": mamba2.ORIGINAL}
"""The original's ``ssm_cfg.layer`` to its layout."""

_CONVOLUTION = "conv1d.weight"  # how their name of filters ends, which are (D, 1, K) there and (D, K) here
_SEQLEN = 2048  # what the published models were trained at; nothing in them depends on it


def read(folder: Path, description: Description) -> LanguageModel:
    """Return the model in ``folder``, with float32 weights.

    Raises:
        UserError: if its kind is none that we have, or its weights are damaged or others than it says.
    """
    layout, description, vocab_size = _layout_of(description)
    config = layout.read(description)
    weights = read_weights(folder)
    older = "backbone.embedding.weight"  # in Hugging Face's first files, as in the original's
    if older in weights:
        weights[layout.name_of("embedding.weight")] = weights.pop(older)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    build = partial(build_model, config, vocab_size=vocab_size, seqlen=_SEQLEN)
    check_size(config, len(weights))
    with torch.device("meta"):  # what a description claims may be larger than memory
        _check_fit(build(), layout, shapes)
    for name, value in weights.items():
        check_floating(name, value.dtype)
    with torch.random.fork_rng(devices=[]):
        model = build()
    _fill(model, layout, weights)
    model.rest = layout.rest(description)
    return model


def check_size(config: ModelConfig, tensors: int) -> None:
    """Refuse more blocks than a file has tensors, before they are built.

    Raises:
        UserError: if there are.
    """
    if config.n_layer > tensors:
        raise UserError(
            f"The weights do not fit their {CONFIG}: they are {tensors} tensors, for {config.n_layer} layers."
        )


def write(folder: Path, model: LanguageModel, config: ModelConfig) -> None:
    """Write ``model``, which was built from ``config``, into ``folder`` as Hugging Face's.

    Raises:
        UserError: if Hugging Face has no such model.
    """
    model_type = _model_type_of(config)
    architecture, layout = HUGGING_FACE[model_type]
    description = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": model.vocab_size,
        **layout.write(config),
        # None of the ids is special unless something says so; the defaults would end texts at id 0.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **{key: value for key, value in model.rest.items() if key in layout.kept.values()},
        "dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
    }
    weights = {layout.name_of(name): value for name, value in _own_weights(model).items()}
    theirs = {name: _to_theirs(name, value).contiguous() for name, value in weights.items()}
    save_file(theirs, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _layout_of(description: Description) -> tuple[Layout, Description, int]:
    """Return the layout of a description, the description without gaps, and the size of its vocabulary."""
    model_type = description.get("model_type")
    if model_type is None and ("ssm_cfg" in description or {"d_model", "n_layer"} <= description.keys()):
        ssm = description.get("ssm_cfg") or {}  # the original takes null, and none, for its defaults
        if not isinstance(ssm, dict):
            raise UserError(f"The original Mamba with ssm_cfg={ssm!r} cannot be read: it must be a table.")
        layer = ssm.get("layer", "Mamba1")
        layout = _ORIGINAL.get(layer, mamba.ORIGINAL) if isinstance(layer, str) else mamba.ORIGINAL
        return layout, {**description, "ssm_cfg": ssm}, _padded_vocab(layout, description)
    if isinstance(model_type, str) and model_type in HUGGING_FACE:
        _, layout = HUGGING_FACE[model_type]
        return layout, description, whole_number(layout.title, description, "vocab_size")
    raise UserError(
        f"A model with model_type={model_type!r} has no layers here: what has are "
        f"{', '.join(HUGGING_FACE)}, and the originals (state-spaces/mamba-*, mamba2-*)."
    )


def _padded_vocab(layout: Layout, description: Description) -> int:
    """Return how many rows the original's embedding has: its vocabulary, rounded up."""
    multiple = whole_number(layout.title, description, "pad_vocab_size_multiple", 8)
    return -(-whole_number(layout.title, description, "vocab_size") // multiple) * multiple


def _model_type_of(config: ModelConfig) -> str:
    """Return Hugging Face's name for the kind of model that ``config`` describes."""
    for model_type, (_, layout) in HUGGING_FACE.items():
        kind = layout.kind
        if (kind["block"]["name"], kind["mixer"]["name"]) == (config.block.name, config.mixer.name):
            return model_type
    raise UserError(
        f"Hugging Face has no model of block={config.block.name} and mixer={config.mixer.name}: "
        "save it in the native format."
    )


def _own_weights(model: LanguageModel) -> dict[str, Tensor]:
    """Return the model's weights, a shared one once."""
    weights = dict(model.state_dict())
    if model.tied:
        del weights["head.weight"]
    return weights


def _check_fit(model: LanguageModel, layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the layout's names and shapes of the model's weights with those of a file.

    Raises:
        UserError: if one is missing, too many, or of another shape.
    """
    own = {layout.name_of(name): value for name, value in _own_weights(model).items()}
    tied = {layout.name_of("head.weight")} - own.keys()
    for name in sorted(own.keys() ^ (shapes.keys() - tied)):
        what = "is missing" if name in own else "belongs to no layer of this model"
        raise UserError(f"The weights do not fit their {CONFIG}: {name} {what}.")
    for name, value in own.items():
        expected = tuple(_to_theirs(name, value).shape)
        if shapes[name] != expected:
            raise UserError(
                f"The weights do not fit their {CONFIG}: {name} has shape {shapes[name]} instead of "
                f"{expected}."
            )


def _fill(model: LanguageModel, layout: Layout, weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights``, under the layout's names, into the model."""
    for name, value in _own_weights(model).items():
        theirs = layout.name_of(name)
        _to_theirs(theirs, value).copy_(weights[theirs])


def _to_theirs(name: str, value: Tensor) -> Tensor:
    """Return a view of our weight in the shape that they store."""
    return value.unsqueeze(1) if name.endswith(_CONVOLUTION) else value

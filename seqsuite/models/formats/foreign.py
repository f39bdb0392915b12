"""Models in other projects' formats: found by their description, read and written by a table of names."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.formats import mamba, mamba2
from seqsuite.models.formats.files import CONFIG, WEIGHTS, read_weights
from seqsuite.models.formats.layout import Description, Layout
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
    layout, vocab_size = _layout_of(description)
    with torch.random.fork_rng(devices=[]):
        model = build_model(layout.read(description), vocab_size=vocab_size, seqlen=_SEQLEN)
    weights = read_weights(folder)
    older = "backbone.embedding.weight"  # in Hugging Face's first files, as in the original's
    if older in weights:
        weights[layout.name_of("embedding.weight")] = weights.pop(older)
    _fill(model, layout, weights)
    return model


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
        # None of the ids is special unless a tokenizer says so; the defaults would end texts at id 0.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "dtype": str(model.embedding.weight.dtype).removeprefix("torch."),
    }
    weights = {layout.name_of(name): value for name, value in _own_weights(model).items()}
    theirs = {name: _to_theirs(name, value).contiguous() for name, value in weights.items()}
    save_file(theirs, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _layout_of(description: Description) -> tuple[Layout, int]:
    """Return the layout of a description and the size of its vocabulary."""
    try:
        if "model_type" not in description and "ssm_cfg" in description:
            layer = description["ssm_cfg"].get("layer", "Mamba1")
            return _ORIGINAL.get(layer, mamba.ORIGINAL), _padded_vocab(description)
        if description.get("model_type") in HUGGING_FACE:
            _, layout = HUGGING_FACE[description["model_type"]]
            return layout, int(description["vocab_size"])
    except KeyError as error:
        raise UserError(f"The model's {CONFIG} cannot be used: it does not say {error}.") from error
    raise UserError(
        f"A model with model_type={description.get('model_type')!r} has no layers here: what has are "
        f"{', '.join(HUGGING_FACE)}, and the originals (state-spaces/mamba-*, mamba2-*)."
    )


def _padded_vocab(description: Description) -> int:
    """Return how many rows the original's embedding has: its vocabulary, rounded up."""
    multiple = description.get("pad_vocab_size_multiple", 8)
    rows: int = math.ceil(description["vocab_size"] / multiple) * multiple
    return rows


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
    if model.head.weight is model.embedding.weight:
        del weights["head.weight"]
    return weights


def _fill(model: LanguageModel, layout: Layout, weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights``, under the layout's names, into the model.

    Raises:
        UserError: if one is missing, too many, or of another shape.
    """
    own = {layout.name_of(name): value for name, value in _own_weights(model).items()}
    tied = {layout.name_of("head.weight")} - own.keys()
    for name in sorted(own.keys() ^ (weights.keys() - tied)):
        what = "is missing" if name in own else "belongs to no layer of this model"
        raise UserError(f"The weights do not fit their {CONFIG}: {name} {what}.")
    for name, value in own.items():
        found, expected = weights[name], _to_theirs(name, value)
        if found.shape != expected.shape:
            raise UserError(
                f"The weights do not fit their {CONFIG}: {name} has shape {tuple(found.shape)} instead of "
                f"{tuple(expected.shape)}."
            )
        expected.copy_(found)


def _to_theirs(name: str, value: Tensor) -> Tensor:
    """Return a view of our weight in the shape that they store."""
    return value.unsqueeze(1) if name.endswith(_CONVOLUTION) else value

"""Our own format: ``model.safetensors`` under our names, and a ``config.json`` that the model is built from.

Checkpoints of experiments are in it too; their ``config.json`` says more, of the task and the training.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

import seqsuite
from seqsuite.errors import UserError
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelConfig, ModelShape
from seqsuite.models.formats.files import CONFIG, UNFIT, WEIGHTS, first_line
from seqsuite.models.formats.foreign import check_size
from seqsuite.models.formats.layout import Description, whole_number
from seqsuite.models.sequence_model import LanguageModel, SequenceModel

MARK = "seqsuite"
"""Key that only our descriptions have: the version that wrote them."""


def read(folder: Path, description: Description) -> SequenceModel:
    """Return the model in ``folder``.

    Raises:
        UserError: if it is damaged, or of a version with other options.
    """
    shape = _shape(description)
    try:
        config = ModelConfig.model_validate(settings_of(description)["model"])
        shapes = _stored_shapes(folder / WEIGHTS)
        check_size(config, len(shapes))
        with torch.device("meta"):  # what a description claims may be larger than memory
            _check_fit(build_shaped(config, shape), shapes)
        model = build_shaped(config, shape)
        load_model(model, str(folder / WEIGHTS))
    except (OSError, SafetensorError, *UNFIT) as error:
        raise UserError(f"this version cannot read it: {first_line(error)}.") from error
    rest = description.get("rest", {})
    model.rest = dict(rest) if isinstance(rest, dict) else {}
    return model


def _shape(description: Description) -> ModelShape:
    """Return what of the data the model was built from.

    Raises:
        UserError: if it is not said in whole numbers.
    """
    said, known = description.get("shape"), [field.name for field in fields(ModelShape)]
    if not isinstance(said, dict) or not said.keys() <= set(known):
        raise UserError(f"this version cannot read it: {CONFIG} does not say its shape.")
    given = [key for key in known if key == "seqlen" or said.get(key) is not None]
    shape = ModelShape(**{key: whole_number("a model of this format", said, key) for key in given})
    if (shape.vocab_size is None) == (shape.d_input is None):
        raise UserError(f"this version cannot read it: {CONFIG} must say vocab_size or d_input.")
    if shape.d_input is not None and shape.n_outputs is None and shape.n_classes is None:
        raise UserError(f"this version cannot read it: {CONFIG} does not say n_outputs or n_classes.")
    return shape


def settings_of(description: Description) -> Description:
    """Return the settings that a model was built from, and its experiment's if it comes from one."""
    settings = description.get("config")
    return settings if isinstance(settings, dict) else {}


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a file, without reading them.

    Raises:
        UserError: if one does not hold floating-point numbers.
    """
    shapes = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # it has no iterator
            part = file.get_slice(name)
            if not part.get_dtype().startswith(("F", "BF")):
                kind = part.get_dtype()
                raise UserError(f"the weight {name} holds {kind}, not floating-point numbers.")
            shapes[name] = tuple(part.get_shape())
    return shapes


def _check_fit(model: SequenceModel, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes of the model's weights with those of a file, which has shared ones once.

    Raises:
        UserError: if one is missing, too many, or of another shape.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tied = isinstance(model, LanguageModel) and model.tied
    shared = {"head.weight", "embedding.weight"} if tied else set()
    for name in sorted(own.keys() ^ shapes.keys()):
        if name in own and name in shared and shared & shapes.keys():
            continue
        what = "is missing" if name in own else "belongs to no layer of this model"
        raise UserError(f"the weights do not fit their {CONFIG}: {name} {what}.")
    for name, found in shapes.items():
        if found != own[name]:
            raise UserError(
                f"the weights do not fit their {CONFIG}: {name} has shape {found} instead of {own[name]}."
            )


def write(folder: Path, model: LanguageModel, config: ModelConfig) -> None:
    """Write ``model``, which was built from ``config``, into ``folder``."""
    save_model(model, str(folder / WEIGHTS))
    description: dict[str, Any] = {
        MARK: seqsuite.__version__,
        "shape": {"vocab_size": model.vocab_size, "seqlen": model.max_seqlen},
        "config": {"model": config.model_dump(mode="json")},
        **({"rest": dict(model.rest)} if model.rest else {}),
    }
    (folder / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

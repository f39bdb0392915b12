"""Our own format: ``model.safetensors`` under our names, and a ``config.json`` that the model is built from.

Checkpoints of experiments are in it too; their ``config.json`` says more, of the task and the training.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

import seqsuite
from seqsuite.errors import UserError
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelConfig, ModelShape
from seqsuite.models.formats.files import CONFIG, WEIGHTS
from seqsuite.models.formats.layout import Description
from seqsuite.models.sequence_model import LanguageModel, SequenceModel

MARK = "seqsuite"
"""Key that only our descriptions have: the version that wrote them."""


def read(folder: Path, description: Description) -> SequenceModel:
    """Return the model in ``folder``.

    Raises:
        UserError: if it is damaged, or of a version with other options.
    """
    try:
        config = ModelConfig.model_validate(description["config"]["model"])
        model = build_shaped(config, ModelShape(**description["shape"]))
        load_model(model, str(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"this version cannot read it: {reason}.") from error
    return model


def write(folder: Path, model: LanguageModel, config: ModelConfig) -> None:
    """Write ``model``, which was built from ``config``, into ``folder``."""
    save_model(model, str(folder / WEIGHTS))
    description: dict[str, Any] = {
        MARK: seqsuite.__version__,
        "shape": {"vocab_size": model.vocab_size, "seqlen": model.max_seqlen},
        "config": {"model": config.model_dump(mode="json")},
    }
    (folder / CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

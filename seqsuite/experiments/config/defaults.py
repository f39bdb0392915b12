"""What every setting of a cell is if the user sets none: found without importing PyTorch."""

from collections.abc import Mapping
from typing import Any

from seqsuite.experiments.config.resolve import merge
from seqsuite.experiments.config.scales import preset_layers
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.config import ModelConfig
from seqsuite.models.presets import size_settings
from seqsuite.registry import Registry
from seqsuite.tasks import TASKS

_REGISTRIES: dict[str, Registry[Any]] = {
    "task": TASKS,
    "block": BLOCKS,
    "mixer": MIXERS,
    "backbone": BACKBONES,
}


def default_settings(task: str, model: str, scale: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return every setting of a cell as it is if the user sets none but some choices, under dotted keys.

    Args:
        task: The task's name.
        model: The model's name.
        scale: The scale.
        chosen: Choices that may depart from the preset's, under their dotted keys: ``model.size``, and the
            ``….name`` of blocks, mixers and backbone. Options of one that departs have its own defaults.

    Raises:
        UserError: if a name is not known here.
    """
    preset = _flat(_preset(task, model, scale, chosen.get("model.size")))
    settings: dict[str, Any] = {}
    for section, schema in (("model", ModelConfig), ("train", TrainConfig)):
        for name, field in schema.model_fields.items():
            if not field.is_required() and field.default_factory is None:
                settings[f"{section}.{name}"] = field.default
    names = {key: name for key, name in chosen.items() if key.rpartition(".")[2] == "name"}
    for key, name in {**names, "task.name": task}.items():
        owner = key.removesuffix(".name")
        registry = _REGISTRIES.get(owner.rpartition(".")[2])
        if registry is None:
            continue
        options = registry.declaration(name).options
        settings |= {f"{owner}.{option}": found.default for option, found in options.items()}
        if preset.setdefault(key, "") != name:
            preset = {
                other: value
                for other, value in preset.items()
                if other == key or not other.startswith(f"{owner}.")
            }
    return settings | preset


def _preset(task: str, model: str, scale: str, size: str | None) -> dict[str, Any]:
    """Return what a cell's tables hold before any setting of the user's but the model's named size."""
    values: dict[str, Any] = {
        "task": {"name": task},
        "model": {"name": model, "backbone": {"name": "isotropic"}, **MODELS.load(model)()},
    }
    for layer in preset_layers(task, model, scale):
        values = merge(values, layer)
    if size not in (None, "null"):
        values = merge(values, {"model": size_settings(model, size)})
    return values


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

"""From settings to a checked cell: the presets it starts from, and errors that name the key."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import Overrides
from seqsuite.experiments.config.schema import SCALES, CellConfig, RunConfig, TrainConfig
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.config import LayerConfig, ModelConfig
from seqsuite.models.presets import size_settings, sizes
from seqsuite.options import Options, options_schema
from seqsuite.registry import Registry, did_you_mean
from seqsuite.tasks import TASKS

_Model = TypeVar("_Model", bound=BaseModel)

_PARTS = {"block": BLOCKS, "mixer": MIXERS, "backbone": BACKBONES}
"""The choices that make a model."""

_NAMED = {("task",), ("model",), *(("model", part) for part in _PARTS)}
"""Settings that are a named choice with options: ``task=dna`` is short for ``task.name=dna``. The block and
the mixer of a further layer, such as ``model.layers.attention.mixer``, are choices too."""


def resolve(overrides: Overrides) -> CellConfig:
    """Return the full configuration of one cell from its settings.

    Later layers win: the schema's defaults, the model's preset, the task's preset at the chosen scale, what
    that preset says about the chosen model, the model's named size, and the settings themselves.

    Raises:
        UserError: if a key is unknown or a value has a wrong type or range; the sentence names the key and
            suggests the nearest that exists.
    """
    settings = _nest(overrides)
    task_name, model_name = _name(settings, "task"), _name(settings, "model", "mamba")
    scale = settings.get("scale", "cpu")
    if scale not in SCALES:
        raise UserError(
            f"Unknown scale {scale!r}: choose from {', '.join(SCALES)}.{did_you_mean(scale, SCALES)}"
        )
    values: dict[str, Any] = {
        "task": {"name": task_name},
        "model": {"name": model_name, "backbone": {"name": "isotropic"}, **MODELS.load(model_name)()},
    }
    TASKS.load(task_name)  # an unknown task is named before its missing preset is
    for layer in _preset_layers(task_name, model_name, scale):
        values = _merge(values, layer)
    size = _merge(values, settings)["model"].get("size")
    if size is not None:
        values = _merge(values, {"model": size_settings(model_name, size)})
    return _validate(_merge(values, settings))


def override_keys(task: str | None, model: str | None) -> dict[str, list[str]]:
    """Return every key that can be set, with its possible values where they are few.

    Args:
        task: Task whose options to include, or ``None`` for those of all tasks.
        model: Model whose block's and mixer's options to include, or ``None`` for none of them.
    """
    keys = {"task": TASKS.names(), "model": MODELS.names(), "scale": list(SCALES), "seed": []}
    sections: dict[str, type[BaseModel]] = {"train": TrainConfig, "run": RunConfig, "model": ModelConfig}
    for prefix, schema in sections.items():
        keys |= _schema_keys(prefix, schema)
    for name in [task] if task else TASKS.names():
        keys |= _schema_keys("task", options_schema(TASKS.load(name)))
    if model:
        chosen = {"backbone": {"name": "isotropic"}, **MODELS.load(model)()}
        for part, registry in _PARTS.items():
            keys |= _schema_keys(f"model.{part}", options_schema(registry.load(chosen[part]["name"])))
    keys |= {f"model.{part}": registry.names() for part, registry in _PARTS.items()}
    keys["model.size"] = list(sizes(model or "mamba"))
    del keys["model.layers"]  # a table of names that only the user knows
    return {key: keys[key] for key in sorted(keys) if not key.endswith(".name")}


def preset(task: str) -> dict[str, Any]:
    """Return the task's preset file: its summary and one table a scale; empty if it has none."""
    path = files("seqsuite.experiments.config") / "presets" / f"{task}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _preset_layers(task: str, model: str, scale: str) -> list[dict[str, Any]]:
    table = preset(task).get(scale, {})
    return [
        {key: table[key] for key in ("task", "train", "model") if key in table},
        {"model": table.get("models", {}).get(model, {})},
        {"train": table.get("train_for", {}).get(model, {})},
    ]


def _name(settings: Mapping[str, Any], section: str, default: str | None = None) -> str:
    name = settings.get(section, {}).get("name", default)
    if name is None:
        raise UserError(f"Which {section}? Write {section}=NAME; `seqsuite list` shows the names.")
    return str(name)


def _nest(overrides: Overrides) -> dict[str, Any]:
    """Turn dotted keys into tables; a bare name of a choice becomes its ``name``."""
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        path = tuple(key.split("."))
        if path in _NAMED or (path[:2] == ("model", "layers") and path[3:] in (("block",), ("mixer",))):
            path = (*path, "name")
            value = "none" if value is None else value  # there it is a name: the plain block
        table = nested
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"{key!r} cannot be set: {part!r} is a single value and has no options.")
        table[path[-1]] = value
    return nested


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``layer``'s values over it, table by table.

    A choice that the layer gives another name loses the old one's options, which do not apply to it.
    """
    if layer.get("name", base.get("name")) != base.get("name"):
        return dict(layer)
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _validate(values: dict[str, Any]) -> CellConfig:
    """Check from the inside out, so that each error is reported under the key that the user wrote."""
    values = {**values, "model": dict(values["model"])}
    values["task"] = _checked(_schema_of(TASKS, values["task"]), values["task"], "task.")
    for part, registry in _PARTS.items():
        values["model"][part] = _choice(registry, values["model"][part], f"model.{part}")
    values["model"]["layers"] = {
        name: _layer(name, layer) for name, layer in values["model"].get("layers", {}).items()
    }
    for section, schema in (("model", ModelConfig), ("train", TrainConfig), ("run", RunConfig)):
        values[section] = _checked(schema, values.get(section, {}), f"{section}.")
    return _checked(CellConfig, values, "")


def _layer(name: str, values: Any) -> LayerConfig:
    """Check one of ``model.layers``; where it is called like a model, that model's layer is its default."""
    key = f"model.layers.{name}"
    if name in MODELS.names() and isinstance(values, dict):
        preset = MODELS.load(name)()
        values = _merge({part: preset[part] for part in ("block", "mixer")}, values)
    if isinstance(values, dict):
        for part in ("block", "mixer"):
            if "name" not in values.get(part, {}):
                raise UserError(f"{key} has no {part}: set {key}.{part}, besides its options.")
            values = {**values, part: _choice(_PARTS[part], values[part], f"{key}.{part}")}
    return _checked(LayerConfig, values, f"{key}.")


def _choice(registry: Registry, value: dict[str, Any], key: str) -> Options:
    return _checked(_schema_of(registry, value), value, f"{key}.")


def _schema_of(registry: Registry, choice: Mapping[str, Any]) -> type[Options]:
    return options_schema(registry.load(choice["name"]))


def _checked(schema: type[_Model], values: Any, prefix: str) -> _Model:
    """Validate one table; turn the first error into a sentence that starts with the full key."""
    if not isinstance(values, dict):
        section = prefix.rstrip(".")
        raise UserError(
            f"{section}={values} cannot be set: {section} is a table, set one of its keys instead."
        )
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = [str(part) for part in first["loc"]]
        key = prefix + path[0]
        if first["type"] == "extra_forbidden":
            known = [prefix + name for name in schema.model_fields if name != "name"]
            raise UserError(f"Unknown key {key!r}: {_known(known)}.{did_you_mean(key, known)}") from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"{key}={first['input']} cannot be used: {message}.") from None


def _known(keys: list[str]) -> str:
    return f"choose from {', '.join(keys)}" if keys else "there is nothing to set here"


def _schema_keys(prefix: str, schema: type[BaseModel]) -> dict[str, list[str]]:
    return {f"{prefix}.{name}": _choices(field.annotation) for name, field in schema.model_fields.items()}


def _choices(annotation: Any) -> list[str]:
    """Return the values of a literal or boolean annotation."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]

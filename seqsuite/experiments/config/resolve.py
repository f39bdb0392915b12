"""From settings to a checked cell: the presets it starts from, and errors that name the key."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from seqsuite.declarations import choices_of
from seqsuite.errors import UserError
from seqsuite.experiments.config.hints import nearest_key, range_meant
from seqsuite.experiments.config.match import MatchConfig
from seqsuite.experiments.config.overrides import Overrides
from seqsuite.experiments.config.scales import check_scale, preset_layers, scales_of
from seqsuite.experiments.config.schema import SCALES, CellConfig, RunConfig, TrainConfig
from seqsuite.experiments.config.values import holds_numbers, read_as, shown
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.config import LayerConfig, ModelConfig
from seqsuite.models.presets import size_settings, sizes
from seqsuite.options import Options, schema_of
from seqsuite.registry import Registry, describe_error, did_you_mean
from seqsuite.tasks import TASKS

_Model = TypeVar("_Model", bound=BaseModel)

_PARTS: dict[str, Registry[Any]] = {"block": BLOCKS, "mixer": MIXERS, "backbone": BACKBONES}
"""The choices that make a model."""

_LISTS = ("list_type", "tuple_type", "set_type", "frozen_set_type")
"""What Pydantic calls a value that is no list."""

_NAMED = {("task",), ("model",), *(("model", part) for part in _PARTS)}
"""Settings that are a named choice with options: ``task=dna`` is short for ``task.name=dna``. The block and
the mixer of a further layer, such as ``model.layers.attention.mixer``, are choices too."""


def resolve(overrides: Overrides, base: Overrides | None = None) -> CellConfig:
    """Return the full configuration of one cell from its settings.

    Later layers win: the schema's defaults, the model's preset, the task's preset at the chosen scale, what
    that preset says about the chosen model, the model's named size, and the settings themselves.

    Args:
        overrides: The settings, by dotted key.
        base: Settings that these are over, such as those of a file. Where a choice has another name in the
            two, the options of the former one are left out.

    Raises:
        UserError: if a key is unknown or a value has a wrong type or range; the sentence names the key and
            suggests the nearest that exists.
    """
    settings = merge(_nest(base or {}), _nest(overrides))
    task_name, model_name = _name(settings, "task"), _name(settings, "model", "mamba")
    scale = settings.get("scale", "cpu")
    if not isinstance(scale, str) or scale not in SCALES:
        raise UserError(
            f"Unknown scale {scale!r}: choose from {', '.join(SCALES)}.{did_you_mean(str(scale), SCALES)}"
        )
    values: dict[str, Any] = {"task": {"name": task_name}, "model": _unset_model(model_name)}
    TASKS.load(task_name)  # an unknown task is named before its missing preset is
    check_scale(task_name, scale)
    for layer in preset_layers(task_name, model_name, scale):
        values = merge(values, layer)
    try:
        return _validate(_with_settings(values, settings))
    except UserError as error:
        if TASKS.is_plugin(task_name):
            _check_preset(values, str(error), scale)
        raise


def _check_preset(values: dict[str, Any], fault: str, scale: str) -> None:
    """Refuse the preset of a plug-in's task, if a cell's fault is there without any setting of the user's.

    Raises:
        UserError: naming it.
    """
    try:
        _validate(values)
    except UserError as error:
        if str(error) == fault and scales_of(values["task"]["name"]):
            name = values["task"]["name"]
            raise UserError(
                f"The preset of the task {name!r} at scale={scale} is at fault: {fault}"
            ) from None


def resolve_model(name: str, settings: Mapping[str, Any]) -> ModelConfig:
    """Return the full description of a model from its name and the settings of ``model.*``.

    Args:
        name: The model.
        settings: Values by key, without ``model.``; of a choice, its name or a table with its options.

    Raises:
        UserError: if a key is unknown or a value cannot be used.
    """
    dotted: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            dotted |= {f"model.{key}.{option}": chosen for option, chosen in value.items()}
        else:
            dotted[f"model.{key}"] = value
    told = _nest(dotted) if dotted else {"model": {}}
    values = _with_settings({"model": _unset_model(name)}, told)
    return _validate_model(values["model"])


def _unset_model(name: str) -> dict[str, Any]:
    """Return what a model is before any setting."""
    return {"name": name, "backbone": {"name": "isotropic"}, **_model_preset(name)}


def _with_settings(values: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings over what the model's named size stands for, over the values."""
    size = merge(values, settings)["model"].get("size")
    if size is not None:
        if not isinstance(size, str):
            raise UserError(f"model.size={shown(size)} cannot be used: it is a name, such as 130m.")
        values = merge(values, {"model": size_settings(values["model"]["name"], size)})
    return merge(values, settings)


def _model_preset(name: str) -> dict[str, Any]:
    """Return what a named model stands for.

    Raises:
        UserError: if there is none such, or it is a plug-in that fails.
    """
    if name not in MODELS.names():
        for part, registry in _PARTS.items():
            if name in registry.names():
                raise UserError(f"{name!r} is a {part}, not a model: write model=mamba model.{part}={name}.")
    make = MODELS.load(name)
    try:
        return dict(make())
    except Exception as error:
        raise UserError(f"The model {name!r} cannot be described: {describe_error(error)}.") from error


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
    keys |= _schema_keys("model", MatchConfig)
    for name in [task] if task else TASKS.names():
        with suppress(UserError) if task is None else nullcontext():  # a plug-in's fault is not the others'
            keys |= _option_keys("task", TASKS, name)
    if model:
        chosen = {"backbone": {"name": "isotropic"}, **_model_preset(model)}
        for part, registry in _PARTS.items():
            keys |= _option_keys(f"model.{part}", registry, chosen[part]["name"])
    keys |= {f"model.{part}": registry.names() for part, registry in _PARTS.items()}
    keys["model.size"] = list(sizes(model or "mamba"))
    del keys["model.layers"]  # a table of names that only the user knows
    return {key: keys[key] for key in sorted(keys) if key == "run.name" or not key.endswith(".name")}


def _name(settings: Mapping[str, Any], section: str, default: str | None = None) -> str:
    name = settings.get(section, {}).get("name", default)
    if name is None:
        raise UserError(f"Which {section}? Write {section}=NAME; `seqsuite list` shows the names.")
    return name if isinstance(name, str) else shown(name)


def _is_choice(path: tuple[str, ...]) -> bool:
    """Return whether a table of settings is a named choice with options."""
    return path in _NAMED or (path[:2] == ("model", "layers") and path[3:] in (("block",), ("mixer",)))


def _nest(overrides: Overrides) -> dict[str, Any]:
    """Turn dotted keys into tables; a bare name of a choice becomes its ``name``."""
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        path = tuple(key.split("."))
        if _is_choice(path):
            path = (*path, "name")
            value = "none" if value is None else value  # there it is a name: the plain block
        table = nested
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"{key!r} cannot be set: {part!r} is a single value and has no options.")
        if isinstance(table.get(path[-1]), dict):
            raise UserError(
                f"{key}={shown(value)} cannot be set: {key} is a table, set one of its keys instead."
            )
        table[path[-1]] = value
    return nested


def merge(base: Mapping[str, Any], layer: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return ``base`` with ``layer``'s values over it, table by table.

    A choice that the layer gives another name loses the old one's options, which do not apply to it.
    """
    if _is_choice(path) and layer.get("name", base.get("name")) != base.get("name"):
        return dict(layer)
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value, (*path, key))
        else:
            merged[key] = value
    return merged


def _validate(values: dict[str, Any]) -> CellConfig:
    """Check from the inside out, so that each error is reported under the key that the user wrote."""
    values = dict(values)
    values["task"] = _choice(TASKS, values["task"], "task")
    values["model"] = _validate_model(values["model"])
    for section, schema in (("train", TrainConfig), ("run", RunConfig)):
        values[section] = _checked(schema, values.get(section, {}), f"{section}.")
    return _checked(CellConfig, values, "")


def _validate_model(values: dict[str, Any]) -> ModelConfig:
    """Check a model's parts, then the model."""
    values = dict(values)
    for part, registry in _PARTS.items():
        values[part] = _choice(registry, values[part], f"model.{part}")
    layers = values.get("layers", {})
    if not isinstance(layers, dict):
        raise UserError(
            f"model.layers={shown(layers)} cannot be set: write model.layers.NAME.block and "
            "model.layers.NAME.mixer."
        )
    values["layers"] = {name: _layer(name, layer) for name, layer in layers.items()}
    return _checked(ModelConfig, values, "model.")


def _layer(name: str, values: Any) -> LayerConfig:
    """Check one of ``model.layers``; where it is called like a model, that model's layer is its default."""
    key = f"model.layers.{name}"
    if name in MODELS.names() and isinstance(values, dict):
        preset = _model_preset(name)
        both = {part: preset[part] for part in ("block", "mixer")}
        values = merge(both, values, ("model", "layers", name))
    if isinstance(values, dict):
        for part in ("block", "mixer"):
            if "name" not in values.get(part, {}):
                raise UserError(f"{key} has no {part}: set {key}.{part}, besides its options.")
            values = {**values, part: _choice(_PARTS[part], values[part], f"{key}.{part}")}
    return _checked(LayerConfig, values, f"{key}.")


def _choice(registry: Registry[Any], value: Any, key: str) -> Options:
    return _checked(schema_of(registry, value["name"]), value, f"{key}.")


def _checked(schema: type[_Model], values: Any, prefix: str) -> _Model:
    """Validate one table; turn the first error into a sentence that starts with the full key."""
    if not isinstance(values, dict):
        section = prefix.rstrip(".")
        raise UserError(
            f"{section}={shown(values)} cannot be set: {section} is a table, set one of its keys instead."
        )
    fields = schema.model_fields
    values = {
        name: read_as(fields[name].annotation, value) if name in fields else value
        for name, value in values.items()
    }
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = prefix + str(first["loc"][0]) if first["loc"] else prefix.rstrip(".")
        if first["type"] == "extra_forbidden":
            known = [prefix + name for name in fields if prefix == "run." or name != "name"]
            hint = nearest_key(key, known, _all_keys(values))
            raise UserError(f"Unknown key {key!r}: {_known(known)}.{hint}") from None
        if how := _how_written(first["type"], key, first["loc"], fields):
            raise UserError(f"{key}={shown(first['input'])} cannot be used: {how}.") from None
        message = " ".join(first["msg"].removeprefix("Value error, ").split()).rstrip(".")
        raise UserError(
            f"{key}={shown(first['input'])} cannot be used: {message[:1].lower()}{message[1:]}."
            f"{range_meant(key, first['input'])}"
        ) from None


def _how_written(fault: str, key: str, place: Sequence[int | str], fields: Mapping[str, FieldInfo]) -> str:
    """Return how a list or a table is written where a value is neither; empty if another fault is meant."""
    if fault == "dict_type":
        return f"it takes a table, whose values are set one by one, as in {key}.NAME=VALUE"
    if fault not in _LISTS or not place:
        return ""
    items = "1,2" if holds_numbers(fields[str(place[0])].annotation) else "a,b"
    depth = 1 + sum(isinstance(part, int) for part in place)  # a list of lists may lack the inner ones
    return f"it takes a list, which is written in brackets, as in {key}={'[' * depth}{items}{']' * depth}"


def _all_keys(values: Mapping[str, Any]) -> list[str]:
    """Return the keys that can be set, of the cell's own task if it is among the values."""
    task = values.get("task")
    return list(override_keys(task.name if isinstance(task, Options) else None, None))


def _known(keys: list[str]) -> str:
    return f"choose from {', '.join(keys)}" if keys else "there is nothing to set here"


def _schema_keys(prefix: str, schema: type[BaseModel]) -> dict[str, list[str]]:
    return {
        f"{prefix}.{name}": list(choices_of(field.annotation)) for name, field in schema.model_fields.items()
    }


def _option_keys(prefix: str, registry: Registry[Any], name: str) -> dict[str, list[str]]:
    options = registry.declaration(name).options
    return {f"{prefix}.{option}": list(found.choices) for option, found in options.items()}

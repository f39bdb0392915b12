"""Every key that can be set, with its type, default, meaning and choices, as ``seqsuite keys`` lists them."""

import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from seqsuite.errors import UserError
from seqsuite.experiments.config.match import MatchConfig
from seqsuite.experiments.config.resolve import override_keys
from seqsuite.experiments.config.schema import CellConfig, RunConfig, TrainConfig
from seqsuite.experiments.config.values import shown
from seqsuite.models import BACKBONES, BLOCKS, MIXERS
from seqsuite.models.config import ModelConfig
from seqsuite.options import schema_of
from seqsuite.registry import Registry, did_you_mean
from seqsuite.tasks import TASKS

_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("", CellConfig),
    ("model.", ModelConfig),
    ("model.", MatchConfig),
    ("train.", TrainConfig),
    ("run.", RunConfig),
)
_CHOICES: dict[str, Registry[Any]] = {
    "task": TASKS,
    "model.block": BLOCKS,
    "model.mixer": MIXERS,
    "model.backbone": BACKBONES,
}
_TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "none"}
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class Key:
    """A key that can be set.

    Attributes:
        name: The key, such as ``model.mixer.d_state``.
        of: The task, block, mixer or backbone whose option it is; empty if it is everyone's.
        type: What it takes, in words.
        default: Its value where nothing is set, as it is written; empty if there is none.
        description: What it means.
        choices: Its possible values, where they are few.
    """

    name: str
    of: str
    type: str
    default: str
    description: str
    choices: tuple[str, ...]


def list_keys(prefix: str = "") -> list[Key]:
    """Return the keys that begin with ``prefix``, in order: those of every task, block, mixer and backbone.

    Args:
        prefix: Beginning of keys; or a choice, such as ``task=dna``, whose options are returned.

    Raises:
        UserError: if no key does, or what is chosen cannot be used.
    """
    choice, equals, name = prefix.partition("=")
    if equals:
        return _options_of_choice(choice, name)
    choices = override_keys(None, None)
    keys = [
        _key(f"{section}{name}", "", field, choices.get(f"{section}{name}", []))
        for section, schema in _SECTIONS
        for name, field in schema.model_fields.items()
        if name != "name" or section == "run."
    ]
    keys = [key for key in keys if key.name not in ("train", "run", "model")] + [_model_key(choices)]
    for choice, registry, name in _listed(prefix):
        with suppress(UserError):  # a plug-in's fault, which is not the others'
            keys += _options(choice, registry, name)
    found = sorted((key for key in keys if key.name.startswith(prefix)), key=lambda key: (key.name, key.of))
    if not found:
        known = sorted({key.name for key in keys} | {section for section, _ in _SECTIONS if section})
        hint = _choice_meant(prefix) or did_you_mean(prefix, known)
        raise UserError(f"No key begins with {prefix!r}.{hint}")
    return found


def list_faults(prefix: str = "") -> list[str]:
    """Return a sentence for each plug-in whose options :func:`list_keys` leaves out."""
    faults = []
    for choice, registry, name in _listed(prefix):
        try:
            _options(choice, registry, name)
        except UserError as error:
            faults.append(str(error))
    return faults


def _listed(prefix: str) -> Iterator[tuple[str, Registry[Any], str]]:
    """Yield the choices, with registry and name, whose options may begin with ``prefix``."""
    for choice, registry in _CHOICES.items():
        if f"{choice}.".startswith(prefix) or prefix.startswith(f"{choice}."):
            for name in registry.names():
                yield choice, registry, name


def _options_of_choice(choice: str, name: str) -> list[Key]:
    """Return the options of what a setting such as ``task=dna`` chooses.

    Raises:
        UserError: if it is no such setting, the name is unknown, or it has no options or faulty ones.
    """
    if choice not in _CHOICES:
        raise UserError(
            f"{choice}={shown(name)} has no options of its own to list: choose from "
            f"{', '.join(f'{known}=NAME' for known in _CHOICES)}.{did_you_mean(choice, _CHOICES)}"
        )
    found = _options(choice, _CHOICES[choice], name)
    if not found:
        raise UserError(f"The {_CHOICES[choice].kind} {name!r} has no options.")
    return sorted(found, key=lambda key: key.name)


def _choice_meant(prefix: str) -> str:
    """Return `` Did you mean 'task=dna'?`` where a name was written as an option."""
    choice, _, name = prefix.rpartition(".")
    if choice in _CHOICES and name in _CHOICES[choice].names():
        return f" Did you mean '{choice}={name}'?"
    return ""


def _model_key(choices: dict[str, list[str]]) -> Key:
    field = CellConfig.model_fields["model"]
    return Key("model", "", "name", "mamba", _sentence(field.description), tuple(choices["model"]))


def _options(choice: str, registry: Registry[Any], name: str) -> list[Key]:
    """Return the options of one task, block, mixer or backbone.

    Raises:
        UserError: if it is a plug-in that cannot be loaded, or whose options cannot be used.
    """
    target = registry.load(name)
    schema = schema_of(registry, name)
    meanings = argument_descriptions(inspect.getdoc(getattr(target, "__init__", target)) or "")
    meanings |= argument_descriptions(inspect.getdoc(target) or "")
    return [
        _key(f"{choice}.{option}", name, field, _literals(field.annotation), meanings.get(option, ""))
        for option, field in schema.model_fields.items()
        if option != "name"
    ]


def _key(name: str, of: str, field: FieldInfo, choices: list[str], meaning: str = "") -> Key:
    default = "" if field.is_required() or field.default_factory else shown(field.get_default())
    kind = "name" if name in _CHOICES else _type_name(field.annotation, field.metadata)
    return Key(name, of, kind, default, _sentence(field.description or meaning), tuple(choices))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").replace("``", "").split())


def argument_descriptions(docstring: str) -> dict[str, str]:
    """Return what the ``Args:`` section of a docstring says about each argument."""
    _, found, section = docstring.partition("\nArgs:\n")
    if not found:
        return {}
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if start := re.match(r" {4}(\w+): (.*)", line):
            name, entries[start[1]] = start[1], start[2]
        elif name and line.strip():
            entries[name] += f" {line.strip()}"
    return entries


def _type_name(annotation: Any, metadata: list[Any]) -> str:
    """Return a type in words, such as ``whole number > 0``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        name = " | ".join(str(value) for value in arguments)
    elif origin is Annotated:
        name = _type_name(arguments[0], list(arguments[1:]))
    elif origin in (Union, UnionType):
        name = " or ".join(_type_name(argument, []) for argument in arguments)
    elif origin in (tuple, list):
        name = f"list of {_type_name(arguments[0], [])}s" if arguments else "list"
    elif origin is dict:
        name = "table"
    else:
        name = _TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())
    return f"{name}{_bounds(metadata)}"


def _bounds(metadata: list[Any]) -> str:
    bounds = [
        f"{sign} {bound}"
        for item in metadata
        for part in (item, *getattr(item, "metadata", ()))
        for attribute, sign in _BOUNDS.items()
        if (bound := getattr(part, attribute, None)) is not None
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _literals(annotation: Any) -> list[str]:
    return [str(value) for value in get_args(annotation)] if get_origin(annotation) is Literal else []

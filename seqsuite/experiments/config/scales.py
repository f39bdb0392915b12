"""The presets of tasks at each scale: our own, and those that plug-ins bring for their tasks."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from types import ModuleType
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import SCALES
from seqsuite.models import MODELS
from seqsuite.registry import Registry, describe_error, did_you_mean

PRESETS: Registry[dict[str, Any] | ModuleType] = Registry("preset", "seqsuite.presets", {})
"""Presets of plug-ins by their task's name: a dict as our TOML files have it, or a package with NAME.toml."""


_BY_MODEL = ("models", "train_for")
_SECTIONS = ("task", "train", "model", *_BY_MODEL)
_SUMMARY = "summary"


def preset(task: str) -> dict[str, Any]:
    """Return the task's preset: its summary and one table a scale; empty if it has none.

    Raises:
        UserError: if a plug-in's preset cannot be read.
    """
    path = files("seqsuite.experiments.config") / "presets" / f"{task}.toml"
    if path.is_file():
        return tomllib.loads(path.read_text(encoding="utf-8"))
    if task not in PRESETS.names():
        return {}
    return _of_plugin(task, PRESETS.load(task))


def _of_plugin(task: str, found: Any) -> dict[str, Any]:
    """Return the preset that an entry point stands for."""
    if isinstance(found, ModuleType):
        try:
            text = (files(found) / f"{task}.toml").read_text(encoding="utf-8")
            found = tomllib.loads(text)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"The preset of the task {task!r} cannot be read from {found.__name__}/{task}.toml: "
                f"{describe_error(error)}."
            ) from error
    if not isinstance(found, dict):
        raise UserError(
            f"The preset of the task {task!r} is no table of scales: it is {type(found).__name__}."
        )
    _check_names("scale", found, (*SCALES, _SUMMARY), task, "")
    for scale in SCALES:
        sections = _table(found, scale, task, scale)
        _check_names("table", sections, _SECTIONS, task, f" at {scale}")
        for section, table in sections.items():
            if section in _BY_MODEL and isinstance(table, dict):
                _check_names("model", table, MODELS.names(), task, f" at {scale}.{section}")
            for model in _table({section: table}, section, task, f"{scale}.{section}"):
                if section in _BY_MODEL:
                    _table(table, model, task, f"{scale}.{section}.{model}")
    return found


def _check_names(kind: str, table: dict[str, Any], known: Sequence[str], task: str, where: str) -> None:
    """Refuse a name in a plug-in's preset that means nothing."""
    names = [name for name in known if name != _SUMMARY]
    for name in table:
        if name not in known:
            raise UserError(
                f"The preset of the task {task!r} has an unknown {kind} {name!r}{where}: choose from "
                f"{', '.join(known)}.{did_you_mean(str(name), names)}"
            )


def _table(tables: dict[str, Any], key: str, task: str, where: str) -> dict[str, Any]:
    """Return one table of a plug-in's preset, empty if it is missing."""
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise UserError(f"The preset of the task {task!r} has no table at {where}.")
    return table


def scales_of(task: str) -> tuple[str, ...]:
    """Return the scales that the task's preset has; none if it has no preset.

    Raises:
        UserError: if a plug-in's preset cannot be read.
    """
    found = preset(task)
    return tuple(scale for scale in SCALES if scale in found)


def check_scale(task: str, scale: str) -> None:
    """Check that a scale means something for a task; for one without any preset it is a word only.

    Raises:
        UserError: if its preset has others alone, or cannot be read.
    """
    known = scales_of(task)
    if known and scale not in known:
        told = " or ".join(f"scale={name}" for name in known)
        raise UserError(f"The task {task!r} has no preset for scale={scale}: choose {told}.")


def preset_layers(task: str, model: str, scale: str) -> list[dict[str, Any]]:
    """Return what the preset says: about the task, about the model chosen, and about training that.

    Raises:
        UserError: if a plug-in's preset cannot be read.
    """
    table = preset(task).get(scale, {})
    return [
        {key: table[key] for key in ("task", "train", "model") if key in table},
        {"model": table.get("models", {}).get(model, {})},
        {"train": table.get("train_for", {}).get(model, {})},
    ]

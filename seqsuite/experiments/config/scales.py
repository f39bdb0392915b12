"""The presets of tasks at each scale: our own, and those that plug-ins bring for their tasks."""

import tomllib
from importlib.resources import files
from types import ModuleType
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import SCALES
from seqsuite.registry import Registry, describe_error

PRESETS: Registry[dict[str, Any] | ModuleType] = Registry("preset", "seqsuite.presets", {})
"""Presets of plug-ins by their task's name: a dict as our TOML files have it, or a package with NAME.toml."""


_BY_MODEL = ("models", "train_for")


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
    for scale in SCALES:
        for section, table in _table(found, scale, task, scale).items():
            for model in _table({section: table}, section, task, f"{scale}.{section}"):
                if section in _BY_MODEL:
                    _table(table, model, task, f"{scale}.{section}.{model}")
    return found


def _table(tables: dict[str, Any], key: str, task: str, where: str) -> dict[str, Any]:
    """Return one table of a plug-in's preset, empty if it is missing."""
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise UserError(f"The preset of the task {task!r} has no table at {where}.")
    return table


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

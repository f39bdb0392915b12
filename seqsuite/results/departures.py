"""In what a recorded model is not its preset: ``model=mamba model.mixer=s4d`` must not pass for Mamba."""

import json
from collections.abc import Mapping
from functools import cache

from seqsuite.errors import UserError
from seqsuite.experiments.config.defaults import default_settings
from seqsuite.results.filters import same_value
from seqsuite.results.table import labelled

_SECTIONS = ("model.", "train.", "task.")


def departures(params: Mapping[str, str]) -> dict[str, str] | None:
    """Return the settings, choices first, that are not those of the task's, model's and scale's preset.

    Args:
        params: Recorded settings of a cell, by dotted keys.

    Returns:
        Keys and recorded values; ``None`` if a name is that of a plug-in that is not here.
    """
    names = params.get("task.name", ""), params.get("model.name", ""), params.get("scale", "")
    chosen = [(key, value) for key, value in params.items() if key == "model.size" or key.endswith(".name")]
    defaults = _defaults(*names, tuple(sorted(chosen)))
    if defaults is None:
        return None
    found = {
        key: value
        for key, value in params.items()
        if key in defaults and key.startswith(_SECTIONS) and not same_value(value, defaults[key])
    }
    return dict(sorted(found.items(), key=lambda item: (not item[0].endswith(".name"), item[0])))


def of_model(found: Mapping[str, str] | None) -> dict[str, str]:
    """Return those of the model, without the ``model.`` before them."""
    return {
        key.removeprefix("model."): value for key, value in (found or {}).items() if key.startswith("model.")
    }


def model_label(params: Mapping[str, str]) -> str:
    """Return a recorded model's name with its departures: ``"mamba + mixer=s4d"``."""
    return labelled(params.get("model.name", "?"), of_model(departures(params)))


@cache
def _defaults(
    task: str, model: str, scale: str, chosen: tuple[tuple[str, str], ...]
) -> dict[str, str] | None:
    """Return the defaults as they are recorded."""
    try:
        settings = default_settings(task, model, scale, dict(chosen))
    except UserError:
        return None
    return {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in settings.items()
    }

"""Settings in TOML files: what ``--config`` reads, and ``--print-config`` writes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import Overrides, check_key, parse_null, parse_values
from seqsuite.experiments.config.schema import CellConfig

GRID = "grid"
"""Table of a file whose keys have several values each."""


class SettingsFile(NamedTuple):
    """What a file says: the settings of every cell, and the values of those keys that span a grid."""

    settings: Overrides
    grid: dict[str, list[Any]]


def read_settings(path: Path) -> SettingsFile:
    """Read a TOML file of settings.

    Its tables and keys are those of the command line: ``task = "dna"`` or ``[task]`` with ``name = "dna"``;
    ``"none"`` is no value, and an array one value. In the table ``[grid]`` every key, in quotation marks if
    it has dots, has several: an array of them, or text as on the command line, such as ``"0..4"``.

    Raises:
        UserError: if the file cannot be read, or is no such file.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"--config {path} cannot be read as TOML: {str(reason).rstrip('.')}.") from error
    grid = tables.pop(GRID, {})
    if not isinstance(grid, dict):
        raise UserError(f"--config {path}: grid is a table of keys with several values each.")
    return SettingsFile(
        _flatten(tables), {key: _several(key, value) for key, value in _flatten(grid).items()}
    )


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> Overrides:
    """Return dotted keys and their values."""
    flat: Overrides = {}
    for name, value in tables.items():
        key = prefix + name
        check_key(key, f"{key}=")
        if isinstance(value, dict):
            flat |= _flatten(value, f"{key}.")
        else:
            flat[key] = parse_null(value) if isinstance(value, str) else value
    return flat


def _several(key: str, value: Any) -> list[Any]:
    """Return the values of a key of the grid."""
    if isinstance(value, str):
        return parse_values(key, value)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"The grid has no value for {key}: give it one.")
    return [parse_null(item) if isinstance(item, str) else item for item in values]


def to_toml(config: CellConfig) -> str:
    """Return a cell as the text of a file that :func:`read_settings` reads back to the same cell."""
    return tomli_w.dumps(_without_none(config.model_dump(mode="json")))


def _without_none(value: Any) -> Any:
    """Return a value with ``"none"`` in place of ``None``, which TOML has not."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return "none" if value is None else value

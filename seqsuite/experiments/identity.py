"""Which recorded runs are of a cell, also where they were recorded by another version of the suite."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.tracking.store import flatten

Identity = frozenset[tuple[str, str]]


def identity_of(cell: CellConfig) -> Identity:
    """Return the :func:`identity` that a cell's runs have."""
    return _without_place(flatten(cell.model_dump(mode="json")))


def identity(params: Mapping[str, str]) -> Identity:
    """Return recorded settings but for where and as what a cell ran: equal for runs of one cell.

    Options that a run's version did not have yet are at their defaults.
    """
    recorded = _without_place(params)
    return _completed(recorded) or recorded


def completed(params: Mapping[str, str]) -> Identity | None:
    """Return the :func:`identity`, or ``None`` where settings are no longer those of a cell."""
    return _completed(_without_place(params))


def _without_place(params: Mapping[str, str]) -> Identity:
    return frozenset((key, value) for key, value in params.items() if not key.startswith("run."))


@lru_cache(maxsize=4096)
def _completed(recorded: Identity) -> Identity | None:
    """Return settings with today's options added."""
    try:
        return identity_of(CellConfig.model_validate(_nested(dict(recorded))))
    except (UserError, TypeError, ValueError):  # a plug-in that is not installed, an option that is gone
        return None


def _nested(params: Mapping[str, str]) -> dict[str, Any]:
    """Undo :func:`~seqsuite.experiments.tracking.store.flatten`, but for strings that look like JSON."""
    nested: dict[str, Any] = {}
    for key, value in params.items():
        *sections, name = key.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = _parsed(value)
    return nested


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value

"""Which code of plug-ins a cell is run with: no part of its identity, but told where it has changed."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from seqsuite.experiments.config.schema import CellConfig
from seqsuite.models import BLOCKS, MIXERS, MODELS
from seqsuite.tasks import TASKS


def plugin_code(config: CellConfig) -> str:
    """Return the files of a cell's plug-ins with hashes of their content, such as ``parity.py 1f0c9a3e``.

    Returns:
        A file after the other, with commas; empty where all that is run is the suite's own.

    Raises:
        UserError: if a plug-in cannot be imported.
    """
    files = TASKS.plugin_files([config.task.name])
    names = set(_strings(config.model.model_dump(mode="json")))
    for registry in (MODELS, BLOCKS, MIXERS):
        files += registry.plugin_files(names)
    told = []
    for file in sorted(set(files)):
        with suppress(OSError):
            told.append(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:8]}")
    return ", ".join(told)


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in nested settings: names of layers stand at several depths."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)

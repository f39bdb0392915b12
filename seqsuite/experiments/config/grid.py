"""From the settings of a grid to its cells, each called by what tells it from the others."""

import re
from collections.abc import Sequence
from typing import Any

from seqsuite.experiments.config.match import is_match_key
from seqsuite.experiments.config.overrides import Overrides
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.config.values import shown
from seqsuite.models import MODELS

_IN_LABEL = ("task", "task.name", "model", "model.name", "scale", "seed")
_LONGEST = 100  # characters of what differs


def resolve_grid(grid: Sequence[Overrides], base: Overrides | None = None) -> list[CellConfig]:
    """Return the cells of a grid; the title of each names the settings that differ among them.

    Args:
        grid: The settings of each cell; a key that some cells lack tells the others apart, too.
        base: Settings of all of them, which those are over.

    Raises:
        UserError: if a setting cannot be used, or models cannot be made equal as ``model.match`` asks.
    """
    grid, base = with_widths(grid, base or {})
    keys = dict.fromkeys(key for cell in grid for key in cell)
    varied = [key for key in keys if len({repr(cell.get(key, keys)) for cell in grid}) > 1]
    values = {key: [cell[key] for cell in grid if key in cell] for key in varied}
    paths = {
        key: dict(zip(map(shown, values[key]), _paths(values[key]), strict=True))
        for key in varied
        if key.endswith(".path")
    }
    cells = []
    for overrides in grid:
        config = resolve(overrides, base)
        texts = {key: shown(overrides[key]) for key in varied if key in overrides}
        texts = {key: paths[key][text] if key in paths else text for key, text in texts.items()}
        cells.append(_titled(config, texts))
    return cells


def is_matched(grid: Sequence[Overrides], base: Overrides) -> bool:
    """Return whether models of a grid shall be equal in something."""
    return any(is_match_key(key) for settings in (*grid, base) for key in settings)


def with_widths(grid: Sequence[Overrides], base: Overrides) -> tuple[Sequence[Overrides], Overrides]:
    """Return a grid and its base with the widths that ``model.match`` asks for in its place.

    Raises:
        UserError: if there are no such widths.
    """
    if not is_matched(grid, base):
        return grid, base
    from seqsuite.experiments.matching import match_grid  # models and PyTorch, which no other grid needs

    return match_grid(grid, base)


def _titled(config: CellConfig, varied: dict[str, str]) -> CellConfig:
    """Return the cell with its title, which has the varied settings and the model's parts that it lacks."""
    if config.run.name is None:
        told = _unusual_parts(config) | varied
        told = {key: value for key, value in told.items() if key not in _IN_LABEL}
    else:
        told = varied
    told = {key: value for key, value in told.items() if not key.startswith("run.")}
    if not told:
        return config
    names = short_keys(list(told))
    text = ",".join(f"{name}={value}" for name, value in zip(names, told.values(), strict=True))
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…{config.cell_id('')[:4]}"
    text = re.sub(r"[^\w.,=+*…-]+", "_", text)
    if config.run.name is None:
        name = f"{config.task.name}-{config.model.name}[{text}]-{config.scale}-seed{config.seed}"
    else:
        name = f"{config.run.name}[{text}]"
    return config.model_copy(update={"run": config.run.model_copy(update={"name": name})})


def _unusual_parts(config: CellConfig) -> dict[str, str]:
    """Return the block and the mixer of a cell where its model has others; presets choose the backbone."""
    usual = MODELS.load(config.model.name)()
    chosen = {"block": config.model.block.name, "mixer": config.model.mixer.name}
    return {f"model.{part}": name for part, name in chosen.items() if name != usual[part]["name"]}


def short_keys(keys: Sequence[str]) -> list[str]:
    """Return the last words of dotted keys, as many as tell them apart."""
    names = []
    for key in keys:
        words = key.split(".")
        tails = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        names.append(
            next(
                (tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in keys) == 1), key
            )
        )
    return names


def _paths(values: Sequence[Any]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart."""
    texts = [shown(value) for value in values]
    deepest = max(text.count("/") for text in texts)
    for count in range(1, deepest + 1):
        tails = ["/".join(text.rstrip("/").split("/")[-count:]) for text in texts]
        if len(set(tails)) == len(set(texts)):
            return tails
    return texts

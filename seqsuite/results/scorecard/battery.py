"""What a card's tests are, and from them the cells to run: the same for every model but for its width.

``battery.toml`` declares them. A test's cells are those of its learning rates with the first seed; then,
of the rate that was best on validation data, those of the other seeds.
"""

import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.match import without_match
from seqsuite.experiments.config.overrides import Overrides, parse_arguments, span
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.config.values import shown
from seqsuite.results.table import labelled

_FIXED = ("task", "scale", "seed", "train.learning_rate")
"""What the battery sets, so that cards can be compared."""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Test(_Schema):
    """One line of a card."""

    __test__ = False  # no test of pytest's

    name: str
    """Its name, for programs."""
    title: str
    """Its name, for people."""
    group: str
    """What it is about, of a few such words."""
    about: str
    """What it asks for, in a few words."""
    metric: str
    """``<metric>``, or ``<evaluation set>/<metric>``."""
    sets: dict[str, str] = {}
    """By scale, the evaluation set of the metric in place of the first one."""
    chance: float | None = None
    """What a guess scores; where it is none, a trivial predictor's score that runs have recorded."""
    perfect: float | None = None
    """The best score there can be, if there is one."""
    settings: dict[str, str]
    """By scale, its settings, as on the command line."""

    def metric_at(self, scale: str) -> str:
        """Return the name under which runs have its score."""
        which = self.sets.get(scale)
        return f"{which}/{self.metric}" if which else self.metric


class Battery(_Schema):
    """All tests, and what is the same for all of them."""

    reference: str
    """The model that others are compared with."""
    builtin: list[str]
    """The models that a card shows beside those asked for."""
    rates: list[float] = Field(min_length=1)
    """Learning rates, of which each model gets the better one in each test."""
    seeds: dict[str, int]
    """By scale, seeds of each model and test."""
    shared: dict[str, str]
    """By scale, settings of all tests."""
    models: dict[str, str] = {}
    """Settings of a model, by its name."""
    tests: list[Test]

    @property
    def scales(self) -> list[str]:
        """Return the scales at which there is a card."""
        return list(self.shared)


@dataclass(frozen=True)
class Slot:
    """A cell and its place on the card."""

    test: Test
    model: str
    rate: float
    seed: int
    cell: CellConfig


def read_battery() -> Battery:
    """Return the battery that comes with the package."""
    path = files("seqsuite.results.scorecard") / "battery.toml"
    return Battery.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def slots(battery: Battery, scale: str, settings: Sequence[str]) -> list[Slot]:
    """Return every cell that a card may need, of the models asked for and of those shown beside them.

    Args:
        battery: The tests.
        scale: One of its scales.
        settings: ``key=value`` arguments that say which models: several values make several models. Others,
            such as ``run.device=cpu``, are for all.

    Raises:
        UserError: if there is no such scale, a setting cannot be used or is the battery's, or a model cannot
            be as large as the reference.
    """
    if scale not in battery.scales:
        raise UserError(f"There is no scorecard at scale={scale}: choose from {', '.join(battery.scales)}.")
    given = parse_arguments(settings)
    for key in given:
        if key in _FIXED or key.startswith("task."):
            raise UserError(f"{key} is the same in all scorecards: leave it out.")
    if "model" not in given:
        raise UserError("Which model? Write model=NAME; `seqsuite list` shows the names.")
    shared = parse_arguments(shlex.split(battery.shared[scale]))
    models = _models(given)
    several = [key for key, values in given.items() if not key.startswith("model") and len(values) > 1]
    if several:
        raise UserError(f"{several[0]} is the same for all models of a card: give it one value.")
    further = {key: values[0] for key, values in given.items() if not key.startswith("model")}
    models += [{"model": name} for name in battery.builtin if name not in map(_label, models)]
    return [
        slot for test in battery.tests for slot in _of_test(battery, scale, test, shared, models, further)
    ]


def labels(battery: Battery, settings: Sequence[str]) -> list[str]:
    """Return what the models asked for are called on the card, in their order.

    Raises:
        UserError: if a setting is no ``key=value``.
    """
    return [_label(model) for model in _models(parse_arguments(settings))]


def _models(given: dict[str, list[Any]]) -> list[Overrides]:
    """Return the settings of each model asked for, once."""
    models = span({key: values for key, values in given.items() if key.startswith("model")})
    return list({_label(model): model for model in models}.values())


def _label(model: Overrides) -> str:
    """Return a model's name, with the options by which it is another than that."""
    name = shown(model["model"])
    plain: Overrides = {"task": "text", "scale": "smoke"}
    if resolve(plain | without_match(model)).model == resolve({**plain, "model": name}).model:
        return name
    options = {key.removeprefix("model."): shown(value) for key, value in model.items() if key != "model"}
    return labelled(name, options)


def _of_test(
    battery: Battery,
    scale: str,
    test: Test,
    shared: dict[str, list[Any]],
    models: Sequence[Overrides],
    further: Overrides,
) -> list[Slot]:
    """Return a test's cells: each model with each learning rate and seed."""
    fixed = shared | parse_arguments(shlex.split(test.settings[scale]))
    (common,) = span(fixed | {"scale": [scale]})
    places: list[tuple[str, float, int]] = []
    grid: list[Overrides] = []
    for model in models:
        own = parse_arguments(shlex.split(battery.models.get(shown(model["model"]), "")))
        (usual,) = span(own)
        for rate in battery.rates:
            for seed in range(battery.seeds[scale]):
                places.append((_label(model), rate, seed))
                varied = {"train.learning_rate": str(rate), "seed": str(seed)}
                grid.append(common | usual | model | further | varied)
    cells = resolve_grid(grid)
    return [Slot(test, *place, cell) for place, cell in zip(places, cells, strict=True)]

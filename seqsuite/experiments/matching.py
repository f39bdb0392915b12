"""Fair grids: each model as large as another, in parameters, state or operations, by the width it gets.

``model.match=params`` is carried out before cells are resolved: what comes of it is an ordinary
``model.d_model``, and perhaps an ordinary ``model.mixer.n_heads``, so that a cell is the same whether its
width was matched or typed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from seqsuite.errors import UserError
from seqsuite.experiments.config.match import MatchConfig, Quantity, match_of, without_match
from seqsuite.experiments.config.overrides import Overrides
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.models.build import build_shaped
from seqsuite.models.flops import training_flops

_LARGEST = 2**14
_NUMBER_BYTES = 4
_NAMES: dict[Quantity, str] = {
    "params": "parameters",
    "state": "bytes of state",
    "flops": "operations a train step and sequence",
}
_WIDEST_STEP = 128
"""If no value up to this one can be used, then none can: heads that divide a width are fewer."""
_HEADS = "model.mixer.n_heads"
_NOT_THE_MODELS = ("train.", "run.")
_PARTS_OF_A_MODEL = ("model.block", "model.mixer", "model.layers")
"""What makes a model another one, rather than smaller or larger."""


def match_grid(grid: Sequence[Overrides], base: Overrides) -> tuple[list[Overrides], Overrides]:
    """Carry out ``model.match``: return the cells' settings, and those of all, without its keys.

    A cell is matched to the first cell of the grid that has the same settings, but for those that say which
    model it is; or to the model ``model.match_to`` with these settings.

    Args:
        grid: The settings of each cell.
        base: Settings of all, which those are over.

    Raises:
        UserError: if a setting is wrong, or a model has no width at which it is equal.
    """
    plain = without_match(base)
    references: dict[str, CellConfig] = {}
    chosen: dict[tuple[str, str], Overrides] = {}
    cells = []
    for settings in grid:
        wanted = match_of(base | settings)
        own = without_match(settings)
        if wanted.match is None:
            cells.append(own)
            continue
        group = _group(plain | own, wanted)
        if group not in references:
            references[group] = _reference(own, plain, wanted)
        model = resolve(own, plain).model
        if model == references[group].model:
            cells.append(own)
            continue
        place = group, model.model_dump_json()
        if place not in chosen:
            chosen[place] = _matching(own, plain, wanted, references[group])
        cells.append({**own, **chosen[place]})
    return cells, plain


def size_of(config: CellConfig, quantity: Quantity) -> int:
    """Return what a cell's model has of a quantity, without allocating its parameters.

    The state is that of one sequence in float32, after as many positions as training sequences have at most.

    Raises:
        UserError: if the task or the model contradicts itself.
    """
    shape = shape_of(config.make_task().io)
    with torch.device("meta"):
        model = build_shaped(config.model, shape)
    if quantity == "params":
        return model.num_parameters()
    if quantity == "flops":
        return training_flops(model, shape.seqlen)
    return _NUMBER_BYTES * sum(layer.state_size(shape.seqlen) for layer in model.blocks.layers())


def _is_of_a_model(key: str) -> bool:
    return key in ("model", "model.name") or key.startswith(_PARTS_OF_A_MODEL)


def _group(settings: Mapping[str, Any], wanted: MatchConfig) -> str:
    """Return what cells have in common that are matched to one model."""
    shared = {
        key: value
        for key, value in settings.items()
        if key != "seed" and not _is_of_a_model(key) and not key.startswith(_NOT_THE_MODELS)
    }
    return repr((sorted(shared.items(), key=lambda item: item[0]), wanted))


def _reference(own: Overrides, plain: Overrides, wanted: MatchConfig) -> CellConfig:
    """Return the cell that others are matched to: this one, or one of the declared model."""
    if wanted.match_to is None:
        return resolve(own, plain)
    shared = {key: value for key, value in (plain | own).items() if not _is_of_a_model(key)}
    return resolve({**shared, "model": wanted.match_to})


def _matching(own: Overrides, plain: Overrides, wanted: MatchConfig, reference: CellConfig) -> Overrides:
    """Return the settings with which a model is nearest to the reference: the chosen key, and perhaps heads.

    Raises:
        UserError: if it is not near, or no value can be used.
    """
    assert wanted.match is not None
    quantity, key = wanted.match, f"model.{wanted.match_by}"
    goal = size_of(reference, quantity)
    if goal == 0:
        raise UserError(
            f"model.match={quantity} cannot be met: {reference.model.name} has no {_NAMES[quantity]}."
        )
    choices = _Choices(own, plain, quantity, key)
    found = nearest(choices.size_at, goal)
    if key == "model.d_model" and not _is_near(found, goal, wanted) and (heads := _heads(own, plain)):
        choices = _Choices(own, plain, quantity, key, heads)
        found = nearest(choices.size_at, goal)
    if found is None:
        raise choices.faults[-1]
    value, size = found
    if not _is_near(found, goal, wanted):
        model = resolve(own, plain).model
        raise UserError(
            f"model.match={quantity} cannot be met by {model.name} with mixer {model.mixer.name}: "
            f"{reference.model.name} has {goal:,} {_NAMES[quantity]}, and the nearest to that is {size:,}, "
            f"with {key}={value}. Match another quantity, choose another key by model.match_by, or set its "
            "options so that more widths fit."
        )
    return choices.settings_at(value)


def _heads(own: Overrides, plain: Overrides) -> int | None:
    """Return how many heads a model's mixer has, ``None`` if it has none, or their number was given."""
    if (plain | own).keys() & {_HEADS, "model.mixer.head_dim"}:
        return None
    return getattr(resolve(own, plain).model.mixer, "n_heads", None)


def _is_near(found: tuple[int, int] | None, goal: int, wanted: MatchConfig) -> bool:
    return found is not None and abs(found[1] / goal - 1) <= wanted.match_within


class _Choices:
    """The sizes of a model by the values of a key.

    Of ``heads``, a width that they do not divide gets the most below them that do: so that more widths fit,
    and heads grow wider rather than narrower.
    """

    def __init__(
        self, own: Overrides, plain: Overrides, quantity: Quantity, key: str, heads: int = 1
    ) -> None:
        self._own, self._plain, self._quantity, self._key = own, plain, quantity, key
        self._heads = heads
        self._found: dict[int, tuple[Overrides, int] | None] = {}
        self.faults: list[UserError] = []

    def size_at(self, value: int) -> int | None:
        """Return the size at a value, ``None`` where it cannot be used."""
        if value not in self._found:
            self._found[value] = self._first_usable(value)
        found = self._found[value]
        return None if found is None else found[1]

    def settings_at(self, value: int) -> Overrides:
        """Return the settings of a value that can be used."""
        found = self._found[value]
        assert found is not None
        return found[0]

    def _first_usable(self, value: int) -> tuple[Overrides, int] | None:
        plainly: Overrides = {self._key: str(value)}
        fewer = range(self._heads - 1, 0, -1)
        for settings in [plainly, *({**plainly, _HEADS: str(heads)} for heads in fewer)]:
            try:
                return settings, size_of(resolve({**self._own, **settings}, self._plain), self._quantity)
            except UserError as error:
                self.faults.append(error)
        return None


def nearest(size_at: Callable[[int], int | None], goal: int) -> tuple[int, int] | None:
    """Return the value whose size is nearest to a goal, and that size; ``None`` if no value can be used.

    Args:
        size_at: Gives the size at a value, which does not fall as that grows, or ``None`` where it cannot be
            used, such as a width that heads do not divide.
        goal: The size to come near to; above zero.
    """
    best: list[tuple[float, int, int]] = []
    low = high = 1
    reached = False
    while not reached:  # double, until a value is large enough
        if high > (_LARGEST if best else _WIDEST_STEP):
            break
        found = _first(size_at, high, 2 * high)
        if found is not None:
            best.append((abs(found[1] / goal - 1), *found))
            reached = found[1] >= goal
            low, high = (low, found[0]) if reached else (found[0], high)
        high = high if reached else 2 * high
    while reached and high - low > 1:  # the value is above low, and not above high
        middle = (low + high) // 2
        found = _first(size_at, middle, high)
        if found is None:
            high = middle
            continue
        best.append((abs(found[1] / goal - 1), *found))
        low, high = (found[0], high) if found[1] < goal else (low, middle)
    return min(best)[1:] if best else None


def _first(size_at: Callable[[int], int | None], start: int, end: int) -> tuple[int, int] | None:
    """Return the first value in a range that can be used, and its size."""
    for value in range(start, end):
        size = size_at(value)
        if size is not None:
            return value, size
    return None

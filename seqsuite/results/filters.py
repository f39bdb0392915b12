"""Which cells to show: ``task=dna``, ``model=mamba,s4``, ``task.length>=256``, ``model.mixer=s4d``."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.registry import did_you_mean

_FILTER = re.compile(r"([A-Za-z_][\w.]*)(>=|<=|!=|=|>|<)(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Filter:
    """A condition on one setting.

    Attributes:
        key: The setting, as it is written on the command line.
        relation: ``=``, ``!=``, ``>=``, ``<=``, ``>`` or ``<``.
        values: What to compare with: one of several for ``=``, none of them for ``!=``, one number otherwise.
    """

    key: str
    relation: str
    values: tuple[str, ...]

    def keeps(self, cell: CellRun) -> bool:
        """Return whether the cell meets the condition; one without the setting does not."""
        recorded = setting(cell, self.key)
        if recorded is None:
            return False
        if self.relation in _ORDERS:
            number = as_number(recorded)
            return number is not None and _ORDERS[self.relation](number, float(self.values[0]))
        return any(same_value(recorded, value) for value in self.values) == (self.relation == "=")


def parse_filters(arguments: Sequence[str]) -> list[Filter]:
    """Return the conditions that arguments stand for; each must be met.

    Raises:
        UserError: if an argument is no condition, or compares with something that is no number.
    """
    filters = []
    for argument in arguments:
        match = _FILTER.fullmatch(argument)
        if match is None:
            raise UserError(
                f"{argument!r} is no filter: write key=value, such as model=mamba or task.length>=256."
            )
        key, relation, text = match.groups()
        values = tuple(_text(cell[key]) for cell in expand_grid([f"{key}={text}"]))
        if relation in _ORDERS and (len(values) != 1 or as_number(values[0]) is None):
            raise UserError(f"{argument!r} is no filter: {relation} compares with one number.")
        filters.append(Filter(key, relation, values))
    return filters


def check_keys(filters: Iterable[Filter], cells: Sequence[CellRun]) -> None:
    """Complain about a setting that no cell has, before saying that nothing matches.

    Raises:
        UserError: naming the nearest setting.
    """
    known = sorted({key.removesuffix(".name") for cell in cells for key in cell.params})
    for wanted in filters:
        if cells and wanted.key not in known:
            hint = did_you_mean(wanted.key, known)
            raise UserError(f"No run has a setting {wanted.key!r}: filter by task, model, scale, ….{hint}")


_BOOLEANS = ("true", "false")


def setting(cell: CellRun, key: str) -> str | None:
    """Return a cell's setting by its name on the command line; see :func:`setting_of`."""
    return setting_of(cell.params, key)


def setting_of(params: Mapping[str, str], key: str) -> str | None:
    """Return a recorded setting by its name on the command line: ``model.mixer`` is ``model.mixer.name``."""
    return params.get(f"{key}.name", params.get(key))


def same_value(recorded: str, wanted: str) -> bool:
    """Return whether two values are equal, as text, numbers or booleans: ``1e-3`` is ``0.001``.

    A boolean is recorded as ``true`` or ``false``, and wanted in any case.
    """
    number = as_number(wanted)
    return (
        recorded == wanted
        or (number is not None and number == as_number(recorded))
        or (wanted.lower() in _BOOLEANS and recorded == wanted.lower())
    )


def as_number(text: str) -> float | None:
    """Return the number that a text is, or ``None``."""
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: object) -> str:
    return "null" if value is None else str(value)

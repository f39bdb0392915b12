"""Which runs are of one cell, or of cells that differ in their seed only, whatever version recorded them."""

from collections import defaultdict
from collections.abc import Iterable

from seqsuite.experiments.identity import Identity, completed
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun

_Group = tuple[str, str]


def grouped(cells: Iterable[CellRun]) -> list[list[CellRun]]:
    """Return runs in groups of the same settings but the seed, and the same data, each in the given order.

    A version of the suite with more options records other groups for the settings that another version had:
    those that had no option yet are counted to the runs with its default.
    """
    places: dict[_Group, _Group] = {}
    first: dict[tuple[Identity, str], _Group] = {}
    found: dict[_Group, list[CellRun]] = defaultdict(list)
    for cell in cells:
        data = cell.tags.get(schema.TAG_DATA, "")
        recorded = cell.tags[schema.TAG_GROUP], data
        if recorded not in places:
            settings = completed({key: value for key, value in cell.params.items() if key != "seed"})
            if settings is None:
                places[recorded] = recorded
            else:
                places[recorded] = first.setdefault((settings, data), recorded)
        found[places[recorded]].append(cell)
    return list(found.values())


def newest(cells: Iterable[CellRun]) -> list[CellRun]:
    """Keep the first run of each cell, given newest first; a finished one before any other."""
    every = list(cells)
    kept: set[int] = set()
    for group in grouped(every):
        chosen: dict[str, CellRun] = {}
        for cell in group:
            known = chosen.setdefault(cell.tags[schema.TAG_SEED], cell)
            if cell.status == "FINISHED" and known.status != "FINISHED":
                chosen[cell.tags[schema.TAG_SEED]] = cell
        kept |= set(map(id, chosen.values()))
    return [cell for cell in every if id(cell) in kept]

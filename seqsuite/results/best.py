"""Runs of a sweep, each model at its best: chosen on validation data, never on the test's."""

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.registry import did_you_mean
from seqsuite.results.collect import metric_of
from seqsuite.results.filters import setting
from seqsuite.results.pivot import settings_of
from seqsuite.results.selection import SelectedReader


class BestReader(SelectedReader):
    """Reads of runs that differ in some settings, such as the learning rate, those with the best values only.

    The values are those by which the task's metric is best on validation data, in the mean over the seeds
    that all values tried have in common, or over all seeds where they have none. Runs that did not finish
    with these values stay; those of other values are left out, as they are of no use once these are chosen.

    Args:
        reader: Where to read.
        settings: What was swept.

    Raises:
        UserError: if no run has such a setting.
    """

    def __init__(self, reader: Reader, settings: Collection[str]) -> None:
        super().__init__(reader, ())
        self._cells = best_of(self._cells, settings)


def best_of(cells: Sequence[CellRun], settings: Collection[str]) -> list[CellRun]:
    """Return the runs that :class:`BestReader` reads, in their order.

    Args:
        cells: Runs, one a cell.
        settings: What was swept.

    Raises:
        UserError: if no run has such a setting.
    """
    known = settings_of(cells)
    for key in settings:
        if cells and key not in known:
            raise UserError(f"No run has a setting {key!r} to choose the best of.{did_you_mean(key, known)}")
    together: dict[tuple[object, ...], dict[tuple[str | None, ...], list[CellRun]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for cell in cells:
        together[_rest(cell, settings)][tuple(setting(cell, key) for key in settings)].append(cell)
    kept = {id(cell) for tried in together.values() for cell in _best(list(tried.values()))}
    return [cell for cell in cells if id(cell) in kept]


def _rest(cell: CellRun, settings: Collection[str]) -> tuple[object, ...]:
    """Return what runs have in common of which the best values are chosen."""
    swept = {name for key in settings for name in (key, f"{key}.name")}
    left_out = swept | {"seed"}
    params = frozenset(
        (key, value)
        for key, value in cell.params.items()
        if key not in left_out and not key.startswith("run.")
    )
    return params, cell.tags.get(schema.TAG_DATA, "")


def _best(tried: Sequence[list[CellRun]]) -> list[CellRun]:
    """Return the runs of the values that were best on validation data; all, where none has finished."""
    scores = [_scores(runs) for runs in tried]
    finished = [found for found in scores if found]
    if not finished:
        return [run for runs in tried for run in runs]
    common = set.intersection(*map(set, finished))

    def order(place: int) -> float:
        found = scores[place]
        return statistics.fmean(found[seed] for seed in common or found) if found else math.inf

    return tried[min(range(len(tried)), key=order)]


def _scores(runs: Sequence[CellRun]) -> dict[str, float]:
    """Return by seed what finished runs reached on validation data: the lower, the better."""
    found = {}
    for run in runs:
        metric = metric_of(run)
        value = run.metrics.get(schema.BEST + metric.name, math.nan)
        if run.status == "FINISHED":
            lower = -value if metric.higher_is_better else value
            found[run.tags[schema.TAG_SEED]] = math.inf if math.isnan(value) else lower
    return found

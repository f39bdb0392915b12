"""What runs of several seeds reached: mean, standard deviation and interval, and how a table has them."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from seqsuite.report import Column
from seqsuite.report import Row as Cells
from seqsuite.results.intervals import interval


class Score(NamedTuple):
    """A mean over seeds; the rest is ``None`` for a single one, or where one is not finite.

    Attributes:
        mean: The mean.
        spread: Sample standard deviation.
        low: Lower end of the mean's 95 % interval, by bootstrap.
        high: Upper end.
    """

    mean: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None


def score_of(values: Sequence[float]) -> Score:
    """Return what values have in common, of which there is at least one."""
    mean = statistics.fmean(values)
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return Score(mean)
    return Score(mean, statistics.stdev(values), *interval(values))


def score_column(key: str, title: str, digits: int) -> Column:
    """Return the column of a score, whose parts are in rows under ``key`` with their names for ``{}``."""
    return Column(
        key.format("mean"),
        title,
        "number",
        digits,
        spread=key.format("spread"),
        low=key.format("low"),
        high=key.format("high"),
    )


def score_cells(key: str, score: Score) -> Cells:
    """Return a score as a row has it, for :func:`score_column`."""
    return {key.format(part): value for part, value in score._asdict().items()}

"""How far seeds carry a difference: bootstrap intervals of means and of paired differences."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seqsuite.results.table import MetricInfo, Row

ENOUGH_SEEDS = 3
"""Fewer seeds carry no ranking: with two, a bootstrap has three different means."""
_EXHAUSTIVE = 5
"""Up to this many values all resamples are taken (5^5 = 3125), beyond it :data:`_RESAMPLES` drawn ones."""
_RESAMPLES = 10_000
_LOW, _HIGH = 2.5, 97.5  # percentiles: 95 %

Verdict = Literal["ahead", "behind", "open"]


@dataclass(frozen=True)
class Difference:
    """By how much one row is ahead of another, over the seeds that both have.

    Attributes:
        mean: Mean difference, positive where the first is better.
        low: Lower end of its 95 % interval.
        high: Upper end.
        seeds: Number of seeds that both have.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """Return what the seeds carry: with too few, or with zero in the interval, nothing."""
        if self.seeds < ENOUGH_SEEDS or not self.low <= self.mean <= self.high:
            return "open"
        if self.low > 0:
            return "ahead"
        return "behind" if self.high < 0 else "open"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values by the percentile bootstrap (Efron, 1979).

    The same values give the same interval: the resamples are all there are, or drawn with a fixed seed.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    found = np.asarray(values, dtype=np.float64)
    means = found[_resamples(len(found))].mean(axis=1)
    low, high = np.percentile(means, [_LOW, _HIGH])
    return float(low), float(high)


def difference(first: Mapping[int, float], second: Mapping[int, float], higher_is_better: bool) -> Difference:
    """Return by how much ``first`` is ahead of ``second``, whose values are by seed.

    Of two rows only seeds that both have are compared: a pair saw the same data. Without such a seed, or
    where a value is not finite, mean and interval are NaN.
    """
    seeds = sorted(first.keys() & second.keys())
    sign = 1.0 if higher_is_better else -1.0
    found = [sign * (first[seed] - second[seed]) for seed in seeds]
    if not found or not np.isfinite(found).all():
        return Difference(np.nan, np.nan, np.nan, len(found))
    return Difference(float(np.mean(found)), *interval(found), len(found))


def uncarried(rows: Sequence["Row"], metric: "MetricInfo") -> list[str]:
    """Return a warning where the seeds do not carry that the first row is ahead of the second.

    Args:
        rows: Rows, best first.
        metric: What ranks them.
    """
    if len(rows) < 2:
        return []
    first, second = rows[:2]
    found = difference(first.values, second.values, metric.higher_is_better)
    if found.verdict == "ahead":
        return []
    told = "Seeds do not carry that the first row is ahead of the second"
    if found.seeds < ENOUGH_SEEDS:
        return [f"{told}: they share {found.seeds} of the {ENOUGH_SEEDS} seeds that it takes."]
    if math.isnan(found.mean):
        return [f"{told}: one of them has no number."]
    low, high = metric.show(found.low), metric.show(found.high)
    return [f"{told}: the 95 % interval of the difference, paired by seed, is {low} to {high}."]


def _resamples(count: int) -> npt.NDArray[np.int64]:
    """Return indices (R, count) of resamples."""
    if count <= _EXHAUSTIVE:
        return np.array(list(itertools.product(range(count), repeat=count)), dtype=np.int64)
    return np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))

"""Scaling laws: power laws through losses, with bootstrap intervals, and the best size at equal compute.

A loss L of models of growing size or compute x is described by ``L = floor + scale (x / at)^-exponent``
(Kaplan et al., 2020, arXiv 2001.08361; with the floor Hoffmann et al., 2022, arXiv 2203.15556). Residuals are
those of log L. The floor is taken only where the data tell it from none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError

FEWEST = 3
"""Through fewer sizes no law is fitted: two points lie on one whatever the truth."""
_FEWEST_FOR_FLOOR = 5
_RESAMPLES, _RESAMPLES_WITH_FLOOR = 2000, 200
_INTERVAL = (2.5, 97.5)  # percentiles: 95 %
_HIGHEST_FLOOR = 0.999  # of the least loss

Floats = npt.NDArray[np.float64]


class Run(NamedTuple):
    """What one run shows of a law: parameters, training tokens and operations, and the loss reached."""

    parameters: float
    tokens: float
    flops: float
    loss: float


@dataclass(frozen=True)
class PowerLaw:
    """``floor + scale (x / at)^-exponent``.

    Attributes:
        at: Where the power is ``scale``: the geometric mean of the x that it was fitted to.
        scale: The loss above the floor there.
        exponent: How fast it falls.
        floor: What remains of the loss at any x; 0 where the data do not tell it from none.
        exponent_interval: 95 % interval of the exponent, by a bootstrap of the residuals.
        floor_interval: The same of the floor, where there are enough points to try one; else ``None``.
        points: Number of points that it was fitted to.
    """

    at: float
    scale: float
    exponent: float
    floor: float
    exponent_interval: tuple[float, float]
    floor_interval: tuple[float, float] | None
    points: int

    def __call__(self, x: Floats) -> Floats:
        """Return the loss at each x."""
        found: Floats = self.floor + self.scale * (x / self.at) ** -self.exponent
        return found

    @property
    def told_of_floor(self) -> str:
        """Return in words whether there is a floor, and why."""
        if self.floor_interval is None:
            return f"not tried: it takes {_FEWEST_FOR_FLOOR} different x"
        low, high = self.floor_interval
        told = f"{low:.3f} to {high:.3f}"
        return f"{self.floor:.3f} ({told})" if self.floor else f"not identifiable ({told})"


@lru_cache(maxsize=64)  # a table and a picture ask for the same
def fit_power_law(x: tuple[float, ...], loss: tuple[float, ...]) -> PowerLaw:
    """Fit a power law, with a floor only if its 95 % interval is above half of it and below all losses.

    Args:
        x: Sizes or operations (P,), positive; several runs may have the same.
        loss: Losses (P,), positive.

    Raises:
        UserError: if there are fewer than :data:`FEWEST` different x, or a value is not positive.
    """
    places, values = np.asarray(x, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    different = len(np.unique(places))
    if different < FEWEST:
        raise UserError(f"a power law takes {FEWEST} different x, and there are {different}")
    if not (np.isfinite(values).all() and (values > 0).all() and (places > 0).all()):
        raise UserError("a power law takes losses and sizes above zero, and one is not")
    at = float(np.exp(np.log(places).mean()))
    logs = np.log(places / at)
    plain = _fit_line(logs, np.log(values))
    fitted = plain[0] - plain[1] * logs
    drawn = [_fit_line(logs, sample) for sample in _resampled(fitted, np.log(values), 2, _RESAMPLES)]
    exponents = np.array([exponent for _, exponent in drawn])
    if different < _FEWEST_FOR_FLOOR:
        return PowerLaw(at, math.exp(plain[0]), plain[1], 0.0, _interval(exponents), None, len(values))
    scale, exponent, floor = _fit_with_floor(logs, np.log(values))
    curve = np.log(floor + scale * np.exp(-exponent * logs))
    samples = _resampled(curve, np.log(values), 3, _RESAMPLES_WITH_FLOOR)
    with_floor = np.array([_fit_with_floor(logs, sample) for sample in samples])
    floors = _interval(with_floor[:, 2])
    if floors[0] > 0.5 * floor and floors[1] < _HIGHEST_FLOOR * values.min():
        interval = _interval(with_floor[:, 1])
        return PowerLaw(at, scale, exponent, floor, interval, floors, len(values))
    return PowerLaw(at, math.exp(plain[0]), plain[1], 0.0, _interval(exponents), floors, len(values))


def frontier(runs: Sequence[Run]) -> list[Run]:
    """Return the runs, seeds averaged, that no other with as few operations is better than, by operations."""
    best, found = math.inf, []
    means = [run for curve in _by_size(runs).values() for run in curve]
    for run in sorted(means, key=lambda run: (run.flops, run.loss)):
        if run.loss < best:
            best = run.loss
            found.append(run)
    return found


@dataclass(frozen=True)
class IsoFlops:
    """Losses of models of several sizes that were trained with the same operations.

    Attributes:
        flops: The operations.
        parameters: Sizes (S,), smallest first.
        losses: Losses (S,).
        parabola: Coefficients of the parabola in the log of the size, highest first.
        optimum: Size at its lowest point; ``None`` where that is not between the sizes.
    """

    flops: float
    parameters: Floats
    losses: Floats
    parabola: Floats
    optimum: float | None

    def __call__(self, parameters: Floats) -> Floats:
        """Return the parabola's loss at each size."""
        found: Floats = np.polyval(self.parabola, np.log(parameters / self.parameters[0]))
        return found


def iso_flops(runs: Sequence[Run], count: int = 3) -> list[IsoFlops]:
    """Return the losses by size at some numbers of operations that at least three sizes have.

    Between the operations of two runs of a size its loss is interpolated, logarithms by logarithms; beyond
    them it is unknown.

    Args:
        runs: Of several sizes, each with several numbers of tokens.
        count: At how many numbers of operations.

    Raises:
        UserError: if no three sizes share a range of operations.
    """
    sizes = _by_size(runs)
    ends = [(curve[0].flops, curve[-1].flops) for curve in sizes.values() if len(curve) > 1]
    if len(ends) < FEWEST:
        raise UserError(
            f"equal operations take {FEWEST} sizes with two numbers of tokens each, and there are {len(ends)}"
        )
    low = sorted(first for first, _ in ends)[FEWEST - 1]
    high = sorted((last for _, last in ends), reverse=True)[FEWEST - 1]
    if low > high:
        raise UserError("no three sizes were trained with operations of one range")
    found = (_at(sizes, float(flops)) for flops in np.geomspace(low, high, count if low < high else 1))
    return [curve for curve in found if curve is not None]


def _at(sizes: Mapping[float, Sequence[Run]], flops: float) -> IsoFlops | None:
    losses: dict[float, float] = {}
    for size, curve in sizes.items():
        across = np.log([run.flops for run in curve])
        within = across[0] - 1e-9 <= math.log(flops) <= across[-1] + 1e-9
        if len(curve) > 1 and within:
            up = np.log([run.loss for run in curve])
            losses[size] = math.exp(float(np.interp(math.log(flops), across, up)))
    if len(losses) < FEWEST:
        return None
    parameters, values = np.array(list(losses)), np.array(list(losses.values()))
    logs = np.log(parameters / parameters[0])
    parabola = np.polyfit(logs, values, 2)
    optimum = None
    if parabola[0] > 0 and 0 <= (lowest := -parabola[1] / (2 * parabola[0])) <= logs[-1]:
        optimum = float(parameters[0] * math.exp(lowest))
    return IsoFlops(flops, parameters, values, parabola, optimum)


def _by_size(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Return the runs of each size, smallest first, by operations; those of several seeds averaged."""
    together: dict[tuple[float, float], list[Run]] = {}
    for run in runs:
        together.setdefault((run.parameters, run.tokens), []).append(run)
    sizes: dict[float, list[Run]] = {}
    for (size, tokens), seeds in sorted(together.items()):
        flops = float(np.mean([run.flops for run in seeds]))
        sizes.setdefault(size, []).append(
            Run(size, tokens, flops, float(np.mean([run.loss for run in seeds])))
        )
    return sizes


def _fit_line(logs: Floats, log_loss: Floats) -> tuple[float, float]:
    """Return the log of the scale, and the exponent, by least squares; the mean of ``logs`` is 0."""
    return float(log_loss.mean()), -float((logs * log_loss).sum() / (logs**2).sum())


def _fit_with_floor(logs: Floats, log_loss: Floats) -> tuple[float, float, float]:
    """Return scale, exponent and floor, by least squares of the log of the loss."""
    from scipy.optimize import least_squares  # takes a while to import

    highest = _HIGHEST_FLOOR * float(np.exp(log_loss.min()))

    def parts(found: Floats) -> tuple[float, float, Floats]:
        share = 1 / (1 + math.exp(-min(max(found[2], -30.0), 30.0)))  # keeps the floor between its bounds
        return share, highest * share, np.exp(np.clip(found[0] - found[1] * logs, -60.0, 60.0))

    def residuals(found: Floats) -> Floats:
        _, floor, power = parts(found)
        return np.asarray(np.log(floor + power) - log_loss, dtype=np.float64)

    def slopes(found: Floats) -> Floats:
        share, floor, power = parts(found)
        columns = [power, -logs * power, np.full_like(power, floor * (1 - share))]
        return np.stack(columns, axis=1) / (floor + power)[:, None]

    above = np.log(np.exp(log_loss) - 0.5 * highest)
    fitted = least_squares(residuals, [*_fit_line(logs, above), 0.0], jac=slopes, method="lm").x
    return math.exp(fitted[0]), float(fitted[1]), parts(fitted)[1]


def _resampled(fitted: Floats, log_loss: Floats, free: int, count: int) -> Floats:
    """Return samples (R, P) of log losses: the fitted ones, with residuals drawn from all."""
    points = len(fitted)
    residuals = (log_loss - fitted) * math.sqrt(points / max(points - free, 1))
    drawn = np.random.default_rng(0).integers(points, size=(count, points))
    samples: Floats = fitted + (residuals - residuals.mean())[drawn]
    return samples


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, _INTERVAL)
    return float(low), float(high)

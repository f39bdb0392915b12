"""Timing: interleaved repeats, their statistics, and how they grow with length."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Run = Callable[[], object]

# A sample is as many calls as take this long, so that the clock's resolution does not count.
SAMPLE_S = 5e-3
MAX_CALLS = 1000
SLOW_S = 1.0  # of a call that takes as long, the first is no slower than the others


@dataclass(frozen=True)
class Times:
    """What one peer took: seconds a call, one for each sample."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample: the headline."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """The fastest sample: what is left when nothing else runs."""
        return min(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and upper quartile, by linear interpolation between samples."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


def time_once(run: Run, device: str, calls: int = 1) -> float:
    """Return the seconds that a call of ``run`` takes, on average over ``calls`` of them.

    On a GPU it is the time between two CUDA events around the calls, not that of the queueing process.
    """
    if device == "cuda":
        start, end = _event(), _event()
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / calls
    begun = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - begun) / calls


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # untyped in PyTorch


def warm_up(run: Run, device: str, compiled: bool = False) -> float:
    """Call ``run`` until it is warm; return an estimate of the seconds a call takes."""
    seconds = time_once(run, device)
    return time_once(run, device) if compiled or seconds < SLOW_S else seconds


def expected_time(time_at: Callable[[int], float], seqlen: int, limit_s: float) -> float:
    """Return about how long a call takes at length ``seqlen``, from shorter ones up to a quarter of it.

    Each length tried is twice the one before. Once even linear growth leads beyond ``limit_s``, that is the
    answer. From the last two, linear and quadratic growth are told apart: t = a L + b L² through both points,
    neither term negative.
    """
    before = last = 0.0
    for length in probed_lengths(seqlen):
        before, last = last, time_at(length)
        if last * seqlen / length > limit_s:
            return last * seqlen / length
    quadratic = min(max(0.0, last / 2 - before), before)
    return 8 * (before - quadratic) + 64 * quadratic


def probed_lengths(seqlen: int) -> list[int]:
    """Return the lengths to try: an eighth and a quarter, and before them shorter ones down to 64."""
    lengths = [max(1, seqlen // 4), max(1, seqlen // 8)]
    while lengths[-1] >= 128:
        lengths.append(lengths[-1] // 2)
    return lengths[::-1]


def interleave(
    cases: Mapping[str, Run], estimates: Mapping[str, float], repeats: int, budget_s: float, device: str
) -> dict[str, Times]:
    """Time every case in turn, ``repeats`` times round.

    What disturbs the machine for a while meets all cases alike, and each round starts with another case, so
    that none always comes after the same neighbour. A case whose samples have used up ``budget_s`` gets no
    more than two.

    Args:
        cases: what to call, by name; warm.
        estimates: about how many seconds a call of each takes; quick ones are called many times a sample.
        repeats: number of samples.
        budget_s: seconds for all samples of one case.
        device: where the work is done.
    """
    names = list(cases)
    calls = {name: min(MAX_CALLS, math.ceil(SAMPLE_S / max(estimates[name], 1e-9))) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(repeats):
        start = round_number % max(len(names), 1)
        for name in names[start:] + names[:start]:
            if len(samples[name]) < 2 or sum(samples[name]) * calls[name] < budget_s:
                samples[name].append(time_once(cases[name], device, calls[name]))
    return {name: Times(tuple(taken)) for name, taken in samples.items()}


def loglog_slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the least-squares slope of log y against log x: 1 is linear growth, 2 quadratic.

    ``None`` where fewer than two different x are left to fit.
    """
    points = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True) if a > 0 and b > 0]
    if len({a for a, _ in points}) < 2:
        return None
    slope, _ = statistics.linear_regression([a for a, _ in points], [b for _, b in points])
    return slope

"""Statistics, estimates and slopes: what the numbers of a benchmark are made of."""

import time

import pytest

from seqsuite.bench.timing import (
    Times,
    expected_time,
    interleave,
    loglog_slope,
    probed_lengths,
    time_once,
    warm_up,
)


def test_times_are_summarised_by_order() -> None:
    times = Times((4.0, 1.0, 3.0, 2.0, 100.0))
    assert (times.minimum, times.median) == (1.0, 3.0)
    assert times.quartiles == (2.0, 4.0)
    assert Times((7.0,)).quartiles == (7.0, 7.0)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_slope_is_the_exponent_of_a_power_law(power: float) -> None:
    lengths = [128, 1024, 4096, 65536]
    assert loglog_slope(lengths, [3e-6 * L**power for L in lengths]) == pytest.approx(power, abs=1e-12)


def test_slope_needs_two_lengths() -> None:
    assert loglog_slope([], []) is None
    assert loglog_slope([1024], [1.0]) is None
    assert loglog_slope([1024, 1024], [1.0, 2.0]) is None


@pytest.mark.parametrize(("linear", "quadratic"), [(1e-3, 0.0), (0.0, 1e-6), (1e-3, 1e-6)])
def test_expected_time_tells_linear_from_quadratic_growth(linear: float, quadratic: float) -> None:
    expected = expected_time(lambda L: linear * L + quadratic * L**2, 4096, 1e9)
    assert expected == pytest.approx(linear * 4096 + quadratic * 4096**2)


def test_expected_time_of_noise_is_never_below_linear() -> None:
    assert expected_time(lambda L: 1.0, 4096, 1e9) == 8.0  # no growth at all between the two lengths
    assert expected_time(lambda L: 1.0 if L == 512 else 100.0, 4096, 1e9) == 64.0  # nor above quadratic


def test_expected_time_stops_trying_once_it_is_clear() -> None:
    tried: list[int] = []

    def quadratic(L: int) -> float:
        tried.append(L)
        return 1e-5 * L**2

    assert probed_lengths(16384) == [64, 128, 256, 512, 1024, 2048, 4096]
    assert probed_lengths(128) == [16, 32]
    assert expected_time(quadratic, 16384, 20.0) > 20.0
    assert tried == [64, 128]


def test_cases_take_turns_and_each_round_starts_with_another() -> None:
    order: list[str] = []
    cases = {name: lambda name=name: order.append(name) for name in "abc"}
    times = interleave(cases, dict.fromkeys(cases, 1.0), 3, 10.0, "cpu")
    assert order == list("abc" + "bca" + "cab")
    assert {name: len(t.seconds) for name, t in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_quick_case_is_called_many_times_a_sample() -> None:
    calls = 0

    def quick() -> None:
        nonlocal calls
        calls += 1

    interleave({"quick": quick}, {"quick": 1e-4}, 2, 10.0, "cpu")
    assert calls == 2 * 50


def test_a_slow_case_gets_two_samples_where_a_quick_one_gets_all() -> None:
    cases = {"slow": lambda: time.sleep(0.02), "quick": lambda: None}
    times = interleave(cases, {"slow": 0.02, "quick": 1.0}, 5, 0.01, "cpu")
    assert len(times["slow"].seconds) == 2
    assert len(times["quick"].seconds) == 5
    assert times["slow"].minimum >= 0.02


def test_warm_up_does_not_believe_the_first_call() -> None:
    delays = iter([0.05, 0.0])
    assert warm_up(lambda: time.sleep(next(delays)), "cpu") < 0.05
    assert time_once(lambda: time.sleep(0.01), "cpu") >= 0.01

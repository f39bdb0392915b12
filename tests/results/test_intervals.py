"""What seeds carry: intervals of paired differences."""

import itertools
import math

import numpy as np
import pytest

from seqsuite.results.intervals import Difference, difference, interval, uncarried
from seqsuite.results.table import MetricInfo, Row, Score


def test_the_interval_of_few_values_is_that_of_all_their_resamples() -> None:
    assert interval([2.0]) == (2.0, 2.0)
    low, high = interval([1.0, 2.0, 3.0])  # 27 resamples: 1/27 are all ones
    assert 1.0 <= low < 4 / 3
    assert low + high == pytest.approx(4.0)
    for values in ([0.0, 1.0, 2.0, 4.0, 8.0], [0.0, 0.0, 3.0, 1.0]):  # by hand, over all that can be drawn
        means = [sum(drawn) / len(values) for drawn in itertools.product(values, repeat=len(values))]
        assert interval(values) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-12)
    many = [float(value) for value in range(30)]
    assert interval(many) == interval(many)
    with pytest.raises(ValueError, match="at least one value"):
        interval([])


def test_a_bootstrap_interval_is_as_wide_as_theory_says() -> None:
    """Of many values, 1.96 standard errors each way."""
    values = [math.sin(17.0 * place) for place in range(400)]
    low, high = interval(values)
    mean = sum(values) / 400
    error = (sum((value - mean) ** 2 for value in values) / 400 / 400) ** 0.5
    assert low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)


def test_pairs_carry_what_their_means_do_not() -> None:
    """Seeds that are hard for both rows spread their values, and not their difference."""
    first, second = {0: 50.0, 1: 70.0, 2: 90.0}, {0: 49.0, 1: 68.5, 2: 89.0}
    found = difference(first, second, higher_is_better=True)
    assert found.verdict == "ahead"
    assert found.mean == pytest.approx(3.5 / 3)
    assert difference(second, first, higher_is_better=True).verdict == "behind"
    assert difference(second, first, higher_is_better=False).verdict == "ahead"


@pytest.mark.parametrize(
    ("second", "seeds"),
    [
        ({0: 40.0, 1: 40.0}, 2),
        ({7: 40.0}, 0),
        ({0: 40.0, 1: 80.0, 2: 40.0}, 3),
        ({0: 40.0, 1: math.nan, 2: 40.0}, 3),
    ],
)
def test_too_few_seeds_and_those_that_disagree_carry_nothing(second: dict[int, float], seeds: int) -> None:
    found = difference({0: 50.0, 1: 51.0, 2: 52.0}, second, higher_is_better=True)
    assert found.verdict == "open"
    assert found.seeds == seeds


def test_five_values_are_resampled_in_all_ways_and_six_in_ten_thousand() -> None:
    six = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    drawn = np.array(six)[np.random.default_rng(0).integers(6, size=(10_000, 6))].mean(axis=1)
    assert interval(six) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)


@pytest.mark.parametrize(
    ("low", "mean", "high", "seeds", "verdict"),
    [
        (0.5, 1.0, 2.0, 3, "ahead"),
        (0.5, 1.0, 2.0, 2, "open"),
        (0.0, 1.0, 2.0, 3, "open"),
        (-2.0, -1.0, 0.0, 3, "open"),
        (-2.0, -1.0, -0.5, 3, "behind"),
        (1.0, 1.0, 1.0, 3, "ahead"),
        (-1.0, -1.0, -1.0, 4, "behind"),
        (1.5, 1.0, 2.0, 3, "open"),
    ],
)
def test_a_verdict_takes_three_seeds_and_an_interval_beside_zero(
    low: float, mean: float, high: float, seeds: int, verdict: str
) -> None:
    assert Difference(mean, low, high, seeds).verdict == verdict


def row(*values: float) -> Row:
    score = Score(sum(values) / len(values), None)
    plain = {"departures": {}, "options": {}, "settings": {}, "scores": {}, "versions": (), "run_ids": ()}
    unknown = dict.fromkeys(("validation", "steps", "parameters", "tokens_per_second", "train_seconds"))
    return Row(model="a", score=score, values=dict(enumerate(values)), **plain, **unknown)


def test_a_warning_says_why_the_first_row_is_not_ahead() -> None:
    bits = MetricInfo("bits_per_byte", "bits", False, 3)
    start = "Seeds do not carry that the first row is ahead of the second: "
    assert uncarried([row(1.0)], bits) == []
    assert uncarried([row(1.0, 1.0, 1.0), row(2.0, 2.0, 2.0)], bits) == []
    assert uncarried([row(1.0, 1.0), row(2.0, 2.0)], bits) == [
        start + "they share 2 of the 3 seeds that it takes."
    ]
    assert uncarried([row(1.0, 1.0, math.nan), row(2.0, 2.0, 2.0)], bits) == [
        start + "one of them has no number."
    ]
    assert uncarried([row(1.0, 1.0, 1.0), row(1.0, 1.0, 1.0), row(9.0, 9.0, 9.0)], bits) == [
        start + "the 95 % interval of the difference, paired by seed, is 0.000 to 0.000."
    ]

"""What seeds carry: intervals of paired differences."""

import itertools
import math

import numpy as np
import pytest

from seqsuite.results.intervals import difference, interval


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

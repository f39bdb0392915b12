"""Power laws and the best size at equal operations, of made-up losses whose laws are known."""

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.results.scaling import Run, fit_power_law, frontier, iso_flops

X = tuple(np.geomspace(1e9, 1e12, 12))


def losses(floor: float, noise: float = 0.002) -> tuple[float, ...]:
    drawn = np.exp(noise * np.random.default_rng(0).standard_normal(len(X)))
    return tuple((floor + 1.5 * (np.array(X) / 1e10) ** -0.15) * drawn)


def test_a_pure_power_law_is_found_with_its_interval_and_no_floor() -> None:
    law = fit_power_law(X, losses(0.0))
    low, high = law.exponent_interval
    assert low < 0.15 < high
    assert high - low < 0.01
    assert law.floor == 0
    assert "not identifiable" in law.told_of_floor
    np.testing.assert_allclose(law(np.array(X)), losses(0.0), rtol=0.02)


def test_a_floor_is_found_where_the_data_have_one() -> None:
    law = fit_power_law(X, losses(1.0))
    assert law.floor_interval is not None
    assert law.floor_interval[0] < 1.0 < law.floor_interval[1]
    assert law.floor == pytest.approx(1.0, abs=0.1)
    assert law.exponent_interval[0] < 0.15 < law.exponent_interval[1]


def test_three_sizes_have_a_law_and_no_floor_and_two_have_none() -> None:
    law = fit_power_law((1.0, 2.0, 4.0), (3.0, 2.5, 2.2))
    assert law.floor_interval is None
    assert law.exponent_interval[0] < law.exponent < law.exponent_interval[1]
    with pytest.raises(UserError, match="3 different x, and there are 2"):
        fit_power_law((1.0, 1.0, 2.0), (3.0, 3.1, 2.5))
    with pytest.raises(UserError, match="above zero"):
        fit_power_law((1.0, 2.0, 4.0), (3.0, float("inf"), 2.0))


def test_the_interval_is_that_of_a_bootstrap_of_residuals() -> None:
    x, loss = np.array([1.0, 2.0, 4.0, 16.0]), np.array([3.0, 2.5, 2.3, 1.6])
    slope, level = np.polyfit(np.log(x), np.log(loss), 1)
    line = level + slope * np.log(x)
    wide = (np.log(loss) - line) * np.sqrt(4 / 2)  # two of four points are taken by the line
    drawn = line + wide[np.random.default_rng(0).integers(4, size=(2000, 4))]
    slopes = np.polyfit(np.log(x), drawn.T, 1)[0]
    law = fit_power_law(tuple(x), tuple(loss))
    assert law.exponent == pytest.approx(-slope)
    assert law.exponent_interval == pytest.approx(tuple(np.percentile(-slopes, [2.5, 97.5])))
    assert (law.at, law.points) == (pytest.approx(2 ** (7 / 4)), 4)
    assert law.scale == pytest.approx(float(np.exp(np.log(loss).mean())))
    assert law(np.array([law.at]))[0] == pytest.approx(law.scale)


def test_a_floor_is_tried_from_five_different_x_on() -> None:
    four = fit_power_law((*X[:4], X[0]), (*losses(1.0)[:4], 4.0))
    assert (four.floor_interval, four.floor) == (None, 0.0)
    assert four.told_of_floor == "not tried: it takes 5 different x"
    five = fit_power_law(X[:5], losses(1.0)[:5])
    assert five.floor_interval == pytest.approx((0.4578, 1.0685), abs=2e-4)
    assert five.told_of_floor == "0.790 (0.458 to 1.068)"


def test_a_floor_is_told_with_its_interval() -> None:
    law = fit_power_law(X[::2], losses(1.0, noise=0.0005)[::2])
    assert law.floor == pytest.approx(0.9926, abs=2e-4)
    assert law.floor_interval == pytest.approx((0.9740, 1.0105), abs=2e-4)
    assert law.exponent_interval == pytest.approx((0.1472, 0.1512), abs=2e-4)
    low, high = law.floor_interval or (0.0, 0.0)
    assert law.told_of_floor == f"{law.floor:.3f} ({low:.3f} to {high:.3f})"


def runs(best: float) -> list[Run]:
    """Return runs whose loss at equal operations is lowest at a size, whatever the operations."""
    found = []
    for size in (1e4, 2e4, 4e4, 8e4):
        for flops in (1e10, 4e10, 1.6e11):
            loss = (1 + 0.1 * np.log(size / best) ** 2) * (flops / 1e10) ** -0.1
            found.append(Run(size, flops / (6 * size), flops, float(loss)))
    return found


def test_the_best_size_at_equal_operations_is_the_parabolas_lowest_point() -> None:
    curves = iso_flops(runs(3e4))
    assert [curve.flops for curve in curves] == pytest.approx([1e10, 4e10, 1.6e11])
    for curve in curves:
        assert list(curve.parameters) == [1e4, 2e4, 4e4, 8e4]
        assert curve.optimum == pytest.approx(3e4, rel=0.05)
        np.testing.assert_allclose(curve(curve.parameters), curve.losses, rtol=0.01)


def test_a_best_size_beyond_those_trained_is_not_named() -> None:
    assert all(curve.optimum is None for curve in iso_flops(runs(1e6)))


def test_equal_operations_need_three_sizes_that_share_some() -> None:
    with pytest.raises(UserError, match="3 sizes with two numbers of tokens each, and there are 2"):
        iso_flops([run for run in runs(3e4) if run.parameters < 3e4])
    apart = [run._replace(flops=run.flops * run.parameters**3) for run in runs(3e4) if run.parameters < 8e4]
    with pytest.raises(UserError, match="operations of one range"):
        iso_flops(apart)


def test_the_frontier_is_what_no_cheaper_run_beats_with_seeds_averaged() -> None:
    kept = frontier([
        Run(1, 1, 1.0, 3.0), Run(1, 1, 1.0, 2.0),
        Run(2, 1, 2.0, 2.6),
        Run(1, 2, 3.0, 2.0),
    ])  # fmt: skip
    assert [(run.flops, run.loss) for run in kept] == [(1.0, 2.5), (3.0, 2.0)]


def test_of_equal_losses_the_cheaper_run_is_on_the_frontier() -> None:
    kept = frontier([Run(1, 1, 1.0, 2.0), Run(1, 2, 2.0, 2.0), Run(2, 1, 2.0, 2.5), Run(2, 2, 4.0, 1.5)])
    assert [run.flops for run in kept] == [1.0, 4.0]


def trained(size: float, *flops: float) -> list[Run]:
    return [Run(size, number / size, number, 4.0 - number / 16) for number in flops]


def test_equal_operations_are_those_that_three_sizes_share() -> None:
    ranges = [*trained(1, 1, 3), *trained(2, 2, 16), *trained(4, 3, 16), *trained(8, 8, 16)]
    first, last = iso_flops([*ranges, *trained(16, 3)])  # once is no range
    assert (first.flops, list(first.parameters)) == (pytest.approx(3), [1, 2, 4])
    assert (last.flops, list(last.parameters)) == (pytest.approx(16), [2, 4, 8])
    assert list(last.losses) == pytest.approx([3.0, 3.0, 3.0])
    assert [curve.flops for curve in iso_flops(ranges, count=5)] == pytest.approx([3, 10.53, 16], rel=1e-3)
    (one,) = iso_flops([*trained(1, 1, 3), *trained(2, 2, 3), *trained(4, 3, 16)])
    assert (one.flops, list(one.parameters)) == (pytest.approx(3), [1, 2, 4])
    with pytest.raises(UserError, match="and there are 2"):
        iso_flops([*trained(1, 1, 3), *trained(2, 2, 3), *trained(4, 3)])


def test_between_two_runs_the_loss_is_interpolated_by_logarithms() -> None:
    steep = [Run(size, flops, flops, size * flops**-0.5) for size in (1.0, 2.0, 3.0) for flops in (1.0, 16.0)]
    assert [list(curve.losses) for curve in iso_flops(steep)] == [
        pytest.approx([1.0, 2.0, 3.0]),
        pytest.approx([0.5, 1.0, 1.5]),
        pytest.approx([0.25, 0.5, 0.75]),
    ]

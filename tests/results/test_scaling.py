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

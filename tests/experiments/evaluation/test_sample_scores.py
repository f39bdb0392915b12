"""Scores of samples against values by hand."""

import math

import numpy as np
import pytest

from seqsuite.experiments.evaluation.sample_scores import (
    am_score,
    frechet_distance,
    inception_score,
    modified_inception_score,
)


def gaussian(mean: np.ndarray, covariance: np.ndarray, n: int = 64) -> np.ndarray:
    """Return rows (n, D) whose sample mean and covariance are exactly these."""
    rows = np.random.default_rng(0).normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def log_of(probabilities: list[list[float]]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(probabilities), -1e4)  # as log-softmax has it: small, not infinite


def test_the_distance_of_a_set_to_itself_is_nothing() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 8))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_shift_costs_its_square() -> None:
    covariance = np.array([[2.0, 0.3], [0.3, 1.0]])
    one = gaussian(np.zeros(2), covariance)
    assert frechet_distance(one, one + np.array([3, -4])) == pytest.approx(25)


def test_scales_differ_by_their_square_roots() -> None:
    one, other = (
        gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0])),
        gaussian(np.ones(3), np.diag([4.0, 4.0, 1.0])),
    )
    by_hand = 3 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2
    assert frechet_distance(one, other) == pytest.approx(by_hand)
    assert frechet_distance(other, one) == pytest.approx(by_hand)


def test_covariances_that_do_not_commute_agree_with_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b)).real
    found = frechet_distance(gaussian(np.zeros(2), a), gaussian(np.zeros(2), b))
    assert found == pytest.approx(expected, rel=1e-9)


def test_features_that_hardly_vary_are_no_trouble() -> None:
    rows = np.outer(np.linspace(-1, 1, 5), np.ones(64))  # a covariance of rank 1
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, np.zeros((2, 64))) == pytest.approx(64 * rows[:, 0].var(ddof=1))
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(rows, rows[:1])


def test_inception_score_is_one_to_the_number_of_classes() -> None:
    sure = log_of(np.eye(4).tolist())
    assert inception_score(sure) == pytest.approx(4)
    assert inception_score(sure[:1].repeat(9, axis=0)) == pytest.approx(1)  # one class only
    assert inception_score(np.full((7, 4), math.log(0.25))) == pytest.approx(1)  # unsure
    half = [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]
    assert inception_score(log_of(half)) == pytest.approx(math.exp(math.log(2) / 2))


def test_modified_inception_score_is_the_mean_over_all_pairs() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=6)
    pairs = [np.sum(one * np.log(one / other)) for one in p for other in p]
    assert modified_inception_score(np.log(p)) == pytest.approx(math.exp(np.mean(pairs)))
    assert modified_inception_score(np.log(p[:1]).repeat(3, axis=0)) == pytest.approx(1)


def test_am_score_asks_for_sure_samples_of_the_classes_of_the_data() -> None:
    sure = log_of(np.eye(2).tolist())
    assert am_score(sure, sure) == pytest.approx(0, abs=1e-12)
    unsure = np.full((3, 2), math.log(0.5))
    assert am_score(sure, unsure) == pytest.approx(
        math.log(2)
    )  # the classes are right, each sample is unsure
    skewed = log_of([[1, 0], [1, 0], [1, 0], [0, 1]])
    by_hand = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert am_score(sure, skewed) == pytest.approx(by_hand)

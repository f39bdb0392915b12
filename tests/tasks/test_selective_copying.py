import math

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, Baseline
from seqsuite.tasks.selective_copying import NOISE, SelectiveCopying


def small(**options: int) -> SelectiveCopying:
    return SelectiveCopying(**{"seed": 3, "length": 24, "num_tokens": 5, "eval_examples": 10, **options})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_targets_are_the_data_tokens_in_order(rows, split):
    task = small()
    inputs, targets, *_ = rows(task, split, 0, 8)
    assert inputs.shape == targets.shape == (8, task.io.seqlen)
    assert (targets[:, :24] == IGNORE).all()
    assert (inputs[:, 24:] == task.marker).all()
    for row, target in zip(inputs, targets, strict=True):
        data = row[:24][row[:24] != NOISE]
        np.testing.assert_array_equal(data, target[24:])
        assert ((data > NOISE) & (data < task.marker)).all()


def test_places_are_uniform(rows):
    # Pearson's statistic over 24 places: mean 23 and at most variance 46 if uniform (counts without
    # replacement vary less). 5 standard deviations above the mean would be far beyond chance.
    n, K, L = 4000, 5, 24
    inputs = rows(small(), "train", 0, n).inputs[:, :L]
    counts = (inputs != NOISE).sum(axis=0)
    expected = n * K / L
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < (L - 1) + 5 * math.sqrt(2 * (L - 1))


def test_data_tokens_are_uniform(rows):
    task = small()
    targets = rows(task, "train", 0, 4000).targets[:, 24:]
    counts = np.bincount(targets.ravel(), minlength=16)[1:15]
    expected = targets.size / 14
    assert ((counts - expected) ** 2 / expected).sum() < 13 + 5 * math.sqrt(26)


def test_last_data_token_seldom_touches_the_first_marker(rows):
    # P(the last place is taken) = K / L exactly.
    inputs = rows(small(), "train", 0, 4000).inputs
    fraction = (inputs[:, 23] != NOISE).mean()
    assert abs(fraction - 5 / 24) < 0.03


def test_full_when_every_place_is_data(rows):
    inputs, targets, *_ = rows(small(length=5), "train", 0, 4)
    np.testing.assert_array_equal(inputs[:, :5], targets[:, 5:])


def test_batches_depend_on_seed_split_and_index_only(rows):
    task = small()
    np.testing.assert_array_equal(
        rows(task, "train", 7 * 4, 4).inputs, rows(small(), "train", 7 * 4, 4).inputs
    )
    for other in (
        rows(small(seed=4), "train", 7 * 4, 4),
        rows(task, "train", 8 * 4, 4),
        rows(task, "test", 0, 4),
    ):
        assert (other.inputs != rows(task, "train", 7 * 4, 4).inputs).any()


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_rows_are_the_same_for_every_batch_size(rows, batch_size):
    task = small()
    assert [which.rows for which in task.eval_sets("validation")] == [10]
    for split in ("train", "validation"):
        whole = rows(task, split, 0, 10).inputs
        for start in range(0, 10, batch_size):
            part = whole[start : start + batch_size]
            np.testing.assert_array_equal(rows(task, split, start, len(part)).inputs, part)


def test_baseline_is_chance_among_data_symbols():
    task = small(vocab_size=6)
    assert task.baselines(task.eval_sets("validation")[0]) == (Baseline("chance", 25.0),)


def test_prompt_ends_with_one_marker_and_can_be_shown():
    task = small(vocab_size=70)
    text = task.show(task.prompt())
    assert text.endswith("|")
    assert text.count("|") == 1
    assert task.show(np.array([0, 1, 52, 53, 69])) == ".aZ<53>|"


def test_more_tokens_than_places_is_refused():
    with pytest.raises(UserError, match=r"num_tokens=9 .*length=8"):
        small(length=8, num_tokens=9)


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_targets(rows):
    task = small()
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 2 * number, 2)
        assert (inputs[:, 24:] == task.marker).all()
        assert (targets[:, :24] == IGNORE).all()
        for row, target in zip(inputs[:, :24], targets[:, 24:], strict=True):
            np.testing.assert_array_equal(row[row != NOISE], target)
            assert ((target > NOISE) & (target < task.marker)).all()

import math
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.selective_copying import NOISE, SelectiveCopying


def small(**options: int) -> SelectiveCopying:
    return SelectiveCopying(**{"seed": 3, "length": 24, "num_tokens": 5, "eval_examples": 10, **options})


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_targets_are_the_data_tokens_in_order(split):
    task = small()
    inputs, targets = task.batch(split, 0, 8)
    assert inputs.shape == targets.shape == (8, task.spec.seqlen)
    assert (targets[:, :24] == IGNORE).all()
    assert (inputs[:, 24:] == task.marker).all()
    for row, target in zip(inputs, targets, strict=True):
        data = row[:24][row[:24] != NOISE]
        np.testing.assert_array_equal(data, target[24:])
        assert ((data > NOISE) & (data < task.marker)).all()


def test_places_are_uniform():
    # Pearson's statistic over 24 places: mean 23 and at most variance 46 if uniform (counts without
    # replacement vary less). 5 standard deviations above the mean would be far beyond chance.
    rows, K, L = 4000, 5, 24
    inputs = small().batch("train", 0, rows).inputs[:, :L]
    counts = (inputs != NOISE).sum(axis=0)
    expected = rows * K / L
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < (L - 1) + 5 * math.sqrt(2 * (L - 1))


def test_data_tokens_are_uniform():
    task = small()
    targets = task.batch("train", 0, 4000).targets[:, 24:]
    counts = np.bincount(targets.ravel(), minlength=16)[1:15]
    expected = targets.size / 14
    assert ((counts - expected) ** 2 / expected).sum() < 13 + 5 * math.sqrt(26)


def test_last_data_token_seldom_touches_the_first_marker():
    # P(the last place is taken) = K / L exactly.
    inputs = small().batch("train", 0, 4000).inputs
    fraction = (inputs[:, 23] != NOISE).mean()
    assert abs(fraction - 5 / 24) < 0.03


def test_full_when_every_place_is_data():
    inputs, targets = small(length=5).batch("train", 0, 4)
    np.testing.assert_array_equal(inputs[:, :5], targets[:, 5:])


def test_batches_depend_on_seed_split_and_index_only():
    task = small()
    np.testing.assert_array_equal(task.batch("train", 7, 4).inputs, small().batch("train", 7, 4).inputs)
    for other in (small(seed=4).batch("train", 7, 4), task.batch("train", 8, 4), task.batch("test", 0, 4)):
        assert (other.inputs != task.batch("train", 7, 4).inputs).any()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_evaluation_set_is_the_same_for_every_batch_size(batch_size):
    task = small()
    count = task.num_eval_batches("validation", batch_size)
    rows = np.concatenate([task.batch("validation", i, batch_size).inputs for i in range(count)])
    np.testing.assert_array_equal(rows, task.batch("validation", 0, 10).inputs)


def test_baseline_is_chance_among_data_symbols():
    name, value = small(vocab_size=6).baseline("validation")
    assert name == "chance"
    assert value == 25.0


def test_paper_rows_are_accuracies():
    rows = {row.model: row.value for row in small().spec.paper}
    assert rows["Mamba block, S6"] == 99.8
    assert rows["S4 (no block)"] == 18.3


def test_prompt_ends_with_one_marker_and_renders(tmp_path: Path):
    task = small(vocab_size=70)
    prompt = task.prompt()
    text = task.decode(prompt)
    assert text.endswith("|")
    assert text.count("|") == 1
    assert task.decode([0, 1, 52, 53, 69]) == ".aZ<53>|"
    task.render(prompt, tmp_path / "sample.txt")
    assert (tmp_path / "sample.txt").read_text() == text + "\n"


def test_more_tokens_than_places_is_refused():
    with pytest.raises(UserError, match=r"num_tokens=9 .*length=8"):
        small(length=8, num_tokens=9)

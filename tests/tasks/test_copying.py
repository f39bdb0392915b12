import numpy as np
import pytest

from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.copying import Copying
from seqsuite.tasks.selective_copying import NOISE, SelectiveCopying


def test_each_token_is_repeated_a_fixed_time_later(rows):
    task = Copying(seed=1, length=20, num_tokens=5, eval_examples=4)
    for split in ("train", "validation", "test"):
        inputs, targets, *_ = rows(task, split, 0, 4)
        np.testing.assert_array_equal(targets[:, 20:], inputs[:, :5])
        assert (targets[:, :20] == IGNORE).all()
        assert (inputs[:, 5:20] == NOISE).all()
        assert (inputs[:, 20:] == task.marker).all()
        assert (inputs[:, :5] != NOISE).all()


def test_the_tokens_are_those_of_the_selective_task(rows):
    options = {"seed": 1, "length": 20, "num_tokens": 5}
    plain, selective = (rows(task(**options), "train", 3, 6).targets for task in (Copying, SelectiveCopying))
    np.testing.assert_array_equal(plain, selective)


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_targets(rows):
    task = Copying(seed=1, length=20, num_tokens=5)
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 4 * number, 4)
        np.testing.assert_array_equal(targets[:, 20:], inputs[:, :5])
        assert inputs.max() == task.marker

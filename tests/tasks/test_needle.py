import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.needle import HAY, NEEDLE, QUESTION, Needle


@pytest.mark.parametrize("hay", ["repeated", "random"])
def test_the_answer_is_what_the_needle_says(rows, hay):
    task = Needle(seed=1, length=60, digits=5, hay=hay)
    for split in ("train", "validation", "test"):
        inputs, targets, *_ = rows(task, split, 0, 6)
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            [at], [asked] = (
                [i for i, token in enumerate(row) if token == kind] for kind in (NEEDLE, QUESTION)
            )
            digits = row[at + 1 : at + 6]
            assert asked == 55
            assert target == [IGNORE] * 55 + digits
            assert row[asked + 1 :] == digits[:-1]
            straw = row[:at] + row[at + 6 : asked]
            assert all(HAY <= token < task.io.vocab_size for token in straw)


def test_a_repeated_haystack_tells_nothing_and_a_random_one_differs(rows):
    for hay, same in (("repeated", True), ("random", False)):
        inputs = rows(Needle(seed=1, length=200, digits=3, hay=hay), "train", 0, 2).inputs
        both = (inputs >= HAY).all(axis=0)
        assert (inputs[0, both] == inputs[1, both]).all() == same


def test_places_are_uniform(rows):
    inputs = rows(Needle(seed=1, length=30, digits=4), "train", 0, 6000).inputs
    counts = np.bincount((inputs == NEEDLE).argmax(axis=1))
    assert len(counts) == 22  # the last ends right before the question
    assert ((counts - 6000 / 22) ** 2 / (6000 / 22)).sum() < 21 + 5 * np.sqrt(42)


def test_lengths_double():
    names = [which.name for which in Needle(seed=0, length=64, max_length=256).eval_sets("test")]
    assert names == ["length_64", "length_128", "length_256"]


def test_a_needle_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"task\.digits=7 .* task\.length=15"):
        Needle(seed=0, length=15)
    assert Needle(seed=0, length=16).io.seqlen == 16


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_targets(rows):
    task = Needle(seed=1, length=60, digits=5)
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 4 * number, 4)
        assert inputs.max() < task.io.vocab_size
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            at = row.index(NEEDLE)
            assert row[at + 1 : at + 6] == target[55:]

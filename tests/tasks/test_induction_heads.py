import math

import numpy as np
import pytest

from seqsuite.results.studies import load_studies
from seqsuite.tasks.base import IGNORE, Baseline, EvalSet
from seqsuite.tasks.induction_heads import InductionHeads


def small(**options: int) -> InductionHeads:
    return InductionHeads(**{"seed": 3, "length": 24, "max_length": 300, "eval_examples": 10, **options})


def test_the_answer_is_what_followed_the_special_token(rows):
    task = small()
    for split in ("train", "validation", "test"):
        inputs, targets, *_ = rows(task, split, 0, 8)
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            first, last = (place for place, token in enumerate(row) if token == task.special)
            assert last == 23
            assert target == [IGNORE] * 23 + [row[first + 1]]


def test_places_and_answers_are_uniform(rows):
    # Pearson's statistic: 5 standard deviations above its mean would be far beyond chance.
    inputs, targets, *_ = rows(small(), "train", 0, 6000)
    places = np.bincount((inputs == 15).argmax(axis=1), minlength=22)
    answers = np.bincount(targets[:, -1], minlength=15)
    for counts, size in ((places, 22), (answers, 15)):
        assert len(counts) == size
        expected = 6000 / size
        assert ((counts - expected) ** 2 / expected).sum() < (size - 1) + 5 * math.sqrt(2 * (size - 1))


def test_test_sets_are_powers_of_two_and_training_length_comes_first():
    task = small()
    assert [which.name for which in task.eval_sets("validation")] == ["length_24"]
    names = [which.name for which in task.eval_sets("test")]
    assert names == ["length_24", "length_64", "length_128", "length_256"]
    paper = InductionHeads(seed=0, max_length=2**20)
    assert [which.seqlen for which in paper.eval_sets("test")] == [
        256,
        64,
        128,
        *(2**n for n in range(9, 21)),
    ]
    assert [which.rows for which in paper.eval_sets("test")][-4:] == [32, 16, 8, 8]
    assert (paper.io.seqlen, paper.io.eval_seqlen) == (256, 2**14)


def test_sets_share_no_rows():
    task = small()
    first, other = (task.eval_batch(EvalSet("test", "a", 10, n), range(10)).inputs[:, :20] for n in (64, 128))
    assert (first != other).any(axis=1).all()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_rows_are_the_same_for_every_batch_size(rows, batch_size):
    task = small()
    for split in ("train", "test"):
        whole = rows(task, split, 0, 9)
        for start in range(0, 9, batch_size):
            part = rows(task, split, start, batch_size)
            np.testing.assert_array_equal(part.inputs, whole.inputs[start : start + batch_size])
            np.testing.assert_array_equal(part.targets, whole.targets[start : start + batch_size])


def test_published_numbers_are_of_sets_that_exist():
    names = {which.name for which in InductionHeads(seed=0, max_length=2**20).eval_sets("test")}
    studies, _ = load_studies()
    metrics = [metric for one in studies["table2"].published for metric in one.metrics]
    assert {metric.rpartition("/")[0] for metric in metrics} <= names


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_targets(rows):
    task = small()
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 4 * number, 4)
        assert inputs.max() < 16
        for row, answer in zip(inputs.tolist(), targets[:, -1].tolist(), strict=True):
            assert (row.count(15), row[-1], row[row.index(15) + 1]) == (2, 15, answer)


def test_chance_is_any_token_but_the_special_one() -> None:
    task = small(vocab_size=9)
    assert task.special == 8
    assert task.baselines(task.eval_sets("test")[0]) == (Baseline("chance", 12.5),)


def test_a_length_that_is_trained_on_is_tested_once_and_one_beyond_the_limit_is_not() -> None:
    sets = small(length=64, max_length=255).eval_sets("test")
    assert [(which.name, which.rows, which.seqlen) for which in sets] == [
        ("length_64", 10, 64),
        ("length_128", 10, 128),
    ]
    assert small(length=64, max_length=256).eval_sets("test")[-1].seqlen == 256
    assert small(length=400).io.eval_seqlen == 400


def test_the_prompt_is_the_first_test_sequence(rows) -> None:
    task = small()
    np.testing.assert_array_equal(task.prompt()[None], rows(task, "test", 0, 1).inputs)

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, Baseline, ModelIO
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
    with pytest.raises(UserError) as error:
        Needle(seed=0, length=15)
    assert str(error.value) == (
        "task.digits=7 twice, as needle and in the question, do not fit into task.length=15: "
        "choose fewer digits or a longer sequence."
    )
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


def test_a_set_has_four_mi_tokens_at_most_and_eight_rows_at_least() -> None:
    task = Needle(seed=0, length=2**13, max_length=2**20)
    assert {which.seqlen: which.rows for which in task.eval_sets("test")} == {
        2**13: 256,
        2**14: 256,
        2**15: 128,
        2**16: 64,
        2**17: 32,
        2**18: 16,
        2**19: 8,
        2**20: 8,
    }


def test_what_is_fed_whole_is_told() -> None:
    assert Needle(seed=0).io == ModelIO(seqlen=256, vocab_size=32, eval_seqlen=4096)
    assert Needle(seed=0, max_length=2**20, hay_words=9).io == ModelIO(
        seqlen=256, vocab_size=21, eval_seqlen=16384
    )
    assert Needle(seed=0, length=5000).io.eval_seqlen == 5000


def test_a_prompt_ends_with_the_question(rows) -> None:
    task = Needle(seed=1, length=60, digits=5)
    (inputs,) = rows(task, "test", 0, 1).inputs
    assert task.prompt().tolist() == inputs[:56].tolist()
    assert task.prompt()[-1] == QUESTION
    assert task.baselines(task.eval_sets("test")[0]) == (Baseline("chance", 10.0),)

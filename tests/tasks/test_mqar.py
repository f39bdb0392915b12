import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, Baseline
from seqsuite.tasks.mqar import BLANK, MQAR, TEST, TRAINING


def check(task: MQAR, row: list[int], target: list[int], pairs: int) -> None:
    """Recompute a row's targets from its inputs, without the task's code."""
    half = task.vocab_size // 2
    values = dict(zip(row[: 2 * pairs : 2], row[1 : 2 * pairs : 2], strict=True))
    assert len(values) == pairs
    assert all(0 < key < half <= value < task.vocab_size for key, value in values.items())
    asked = [token for token in row[2 * pairs :] if token != BLANK]
    assert sorted(asked) == sorted(values)
    assert target == [
        values[token] if place >= 2 * pairs and token != BLANK else IGNORE for place, token in enumerate(row)
    ]


def test_each_key_is_asked_for_once_and_answered_by_its_value(rows):
    task = MQAR(seed=1, length=40, pairs=6, vocab_size=32)
    for split in ("train", "validation", "test"):
        inputs, targets, *_ = rows(task, split, 0, 8)
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            check(task, row, target, 6)


def test_further_test_sets_are_by_length_and_pairs():
    task = MQAR(seed=1, length=40, pairs=6, vocab_size=64)
    sets = {which.name: which for which in task.eval_sets("test")}
    assert list(sets) == ["length_40_pairs_6", "length_20_pairs_3", "length_80_pairs_12"]
    assert [which.name for which in task.eval_sets("validation")] == ["length_40_pairs_6"]
    for (name, which), pairs in zip(sets.items(), (6, 3, 12), strict=True):
        batch = task.eval_batch(which, range(3))
        assert batch.inputs.shape[1] == which.seqlen, name
        for row, target in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
            check(task, row, target, pairs)


def test_the_mixture_has_the_published_parts_in_their_shares(rows):
    task = MQAR(seed=1, protocol="mixed", vocab_size=520)
    assert task.io.seqlen == 256
    sets = [task.sets[which.name] for which in task.eval_sets("test")]
    assert sets[0] == (256, 64)
    assert sorted(sets) == sorted(TEST)
    batch = rows(task, "train", 0, 900)
    assert batch.lengths is not None
    pairs = (batch.targets != IGNORE).sum(axis=1)
    for row, target, length, count in zip(batch.inputs, batch.targets, batch.lengths, pairs, strict=True):
        check(task, row[:length].tolist(), target[:length].tolist(), int(count))
        assert (row[length:] == BLANK).all()
    kinds = list(zip(batch.lengths.tolist(), pairs.tolist(), strict=True))
    for part in TRAINING:
        assert abs(kinds.count(part[:2]) / 900 - part.share / 180) < 0.06
    alone = rows(task, "train", 7, 1).inputs
    np.testing.assert_array_equal(alone[0], batch.inputs[7, : alone.shape[1]])


def test_keys_and_values_are_uniform_and_questions_come_early(rows):
    task = MQAR(seed=1, length=60, pairs=5, vocab_size=32)
    inputs, targets, *_ = rows(task, "train", 0, 4000)
    for start, kinds in ((0, range(1, 16)), (1, range(16, 32))):
        counts = np.bincount(inputs[:, start:10:2].ravel(), minlength=32)[kinds.start : kinds.stop]
        assert counts.sum() == 20_000
        expected = 20_000 / len(kinds)
        degrees = len(kinds) - 1
        assert ((counts - expected) ** 2 / expected).sum() < degrees + 5 * np.sqrt(2 * degrees)
    asked = (targets != IGNORE).mean(axis=0)[10::2]
    assert asked[0] > asked[4] > asked[12]
    even = rows(MQAR(seed=1, length=60, pairs=5, vocab_size=32, power=1.0), "train", 0, 4000).targets
    np.testing.assert_allclose((even != IGNORE).mean(axis=0)[10::2], 0.2, atol=0.04)


@pytest.mark.parametrize(
    ("options", "named"), [({"pairs": 40}, "pairs=40"), ({"vocab_size": 32}, "vocab_size=32")]
)
def test_what_does_not_fit_is_refused(options, named):
    with pytest.raises(UserError, match=named):
        MQAR(seed=0, length=128, **options)


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_targets(rows):
    task = MQAR(seed=1, length=40, pairs=6, vocab_size=32)
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 4 * number, 4)
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            check(task, row, target, 6)


def test_there_are_as_many_keys_as_half_of_the_vocabulary_without_the_blank():
    assert MQAR(seed=0, length=128, vocab_size=34, pairs=8)  # 16 keys, and twice as many pairs are tested
    with pytest.raises(UserError, match="has 15 keys, and 16 are needed"):
        MQAR(seed=0, length=128, vocab_size=32, pairs=8)


def test_a_prompt_ends_with_a_key_that_was_given_a_value():
    task = MQAR(seed=0, length=128, vocab_size=64, pairs=8)
    pairs = task.eval_sets("test")[0]
    inputs, targets, *_ = task.eval_batch(pairs, range(1))
    prompt = task.prompt()
    first = np.flatnonzero(targets[0] != IGNORE)[0]
    assert prompt.tolist() == inputs[0, : first + 1].tolist()
    assert prompt[-1] in prompt[:-1]


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        (1, ["length_40_pairs_1", "length_80_pairs_2"]),
        (2, ["length_40_pairs_2", "length_20_pairs_1", "length_80_pairs_4"]),
        (3, ["length_40_pairs_3", "length_20_pairs_1", "length_80_pairs_6"]),
    ],
)
def test_half_of_the_pairs_is_tested_where_there_is_a_half(pairs: int, names: list[str]) -> None:
    task = MQAR(seed=0, length=40, pairs=pairs, vocab_size=64)
    assert [which.name for which in task.eval_sets("test")] == names
    assert (task.io.seqlen, task.io.eval_seqlen) == (40, 80)


def test_a_pair_takes_four_positions() -> None:
    assert MQAR(seed=0, length=64, pairs=16).io.seqlen == 64
    with pytest.raises(UserError) as error:
        MQAR(seed=0, length=63, pairs=16)
    assert str(error.value) == (
        "task.pairs=16 pairs and as many questions, with gaps, take 64 positions, and task.length=63: "
        "choose fewer pairs or a longer sequence."
    )


def test_chance_is_one_of_the_values() -> None:
    task = MQAR(seed=0, length=40, pairs=6, vocab_size=65)  # 33 … 64 are values, and 32
    (which,) = task.eval_sets("validation")
    assert task.baselines(which) == (Baseline("chance", 100 / 33),)


def test_lengths_are_told_only_where_rows_are_padded(rows) -> None:
    task = MQAR(seed=1, protocol="mixed", vocab_size=520)
    assert (task.io.seqlen, task.io.eval_seqlen) == (256, 1024)
    assert rows(task, "train", 7, 1).lengths is None
    batch = rows(task, "train", 0, 40)
    assert set(batch.lengths.tolist()) == {64, 128, 256}


def test_all_keys_are_used_where_all_are_needed() -> None:
    task = MQAR(seed=0, length=128, vocab_size=34, pairs=8)
    longest = task.eval_sets("test")[-1]
    for row in task.eval_batch(longest, range(20)).inputs.tolist():
        assert sorted(row[:32:2]) == list(range(1, 17))

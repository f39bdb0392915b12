from itertools import permutations

import numpy as np
import pytest

from seqsuite.tasks.base import IGNORE, Baseline, EvalSet, ModelIO
from seqsuite.tasks.state_tracking import StateTracking, elements, product_table

PROBLEMS = ("parity", "arithmetic", "A5", "S5", "Z60")


def expected(problem: str, tokens: list[int]) -> list[int]:
    """Recompute the targets without the task's code."""
    if problem == "arithmetic":
        signs = ["0", "1", "2", "3", "4", "+", "-", "*"]
        shown = [signs[token] for token in tokens]
        return [
            eval("".join(shown[: place + 1])) % 5 if place % 2 == 0 else IGNORE for place in range(len(shown))
        ]
    if problem in ("parity", "Z60"):
        modulus = 2 if problem == "parity" else 60
        return [sum(tokens[: place + 1]) % modulus for place in range(len(tokens))]
    members = sorted(
        p
        for p in permutations(range(5))
        if problem == "S5" or sum(p[i] > p[j] for j in range(5) for i in range(j)) % 2 == 0
    )
    state, states = list(range(5)), []
    for token in tokens:  # the state is where each of five things has been brought
        state = [members[token][at] for at in state]
        states.append(members.index(tuple(state)))
    return states


@pytest.mark.parametrize("problem", PROBLEMS)
def test_targets_are_the_state_so_far(rows, problem):
    task = StateTracking(seed=2, problem=problem, length=17, eval_examples=5)
    for split in ("train", "validation", "test"):
        inputs, targets, *_ = rows(task, split, 0, 5)
        for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            assert target == expected(problem, row)


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
def test_ten_thousand_batches_have_the_right_targets(rows, problem):
    task = StateTracking(seed=5, problem=problem, length=9)
    for number in range(10_000):
        inputs, targets, *_ = rows(task, "train", 4 * number, 4)
        assert inputs.max() < task.io.vocab_size
        assert inputs.min() >= 0
        assert [expected(problem, row) for row in inputs.tolist()] == targets.tolist()


@pytest.mark.parametrize(("group", "order"), [("A5", 60), ("S5", 120)])
def test_groups_are_groups(group, order):
    table = product_table(group)
    assert table.shape == (order, order)
    assert elements(group)[0] == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(table[0], np.arange(order))
    for line in (*table, *table.T):
        assert sorted(line) == list(range(order))
    np.testing.assert_array_equal(table[table[7, 11], 13], table[7, table[11, 13]])
    assert (table != table.T).any()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_states_are_uniform_but_of_arithmetic(rows, problem):
    task = StateTracking(seed=2, problem=problem, length=12)
    last = rows(task, "train", 0, 6000).targets[:, -1 if problem != "arithmetic" else -2]
    counts = np.bincount(last, minlength=task.states)
    assert (counts > 0).all()
    if problem != "arithmetic":
        chi2 = ((counts - last.size / task.states) ** 2 / (last.size / task.states)).sum()
        assert chi2 < (task.states - 1) + 5 * np.sqrt(2 * (task.states - 1))


def test_test_lengths_double_and_share_no_rows():
    task = StateTracking(seed=0, length=16, max_length=100)
    assert [which.name for which in task.eval_sets("test")] == ["length_16", "length_32", "length_64"]
    assert [which.name for which in task.eval_sets("validation")] == ["length_16"]
    first, other = (task.eval_batch(EvalSet("test", "a", 9, n), range(9)).inputs[:, :32] for n in (32, 64))
    assert (first != other).any(axis=1).all()


@pytest.mark.parametrize(
    ("problem", "tokens", "states"),
    [("parity", 2, 2), ("arithmetic", 8, 5), ("A5", 60, 60), ("S5", 120, 120), ("Z60", 60, 60)],
)
def test_sizes_and_chance(problem: str, tokens: int, states: int) -> None:
    task = StateTracking(seed=0, problem=problem)
    assert task.io == ModelIO(seqlen=128, vocab_size=tokens, eval_seqlen=512, n_labels=states)
    assert task.baselines(task.eval_sets("test")[0]) == (Baseline("chance", 100 / states),)


def test_the_longest_length_is_tested_and_no_longer_one() -> None:
    for longest, lengths in ((64, [16, 32, 64]), (63, [16, 32])):
        sets = StateTracking(seed=0, length=16, max_length=longest, eval_examples=9).eval_sets("test")
        assert [(which.name, which.rows, which.seqlen) for which in sets] == [
            (f"length_{n}", 9, n) for n in lengths
        ]
    assert StateTracking(seed=0, length=600).io.eval_seqlen == 600


def test_the_prompt_is_the_first_test_sequence(rows) -> None:
    task = StateTracking(seed=2, problem="A5", length=17)
    np.testing.assert_array_equal(task.prompt()[None], rows(task, "test", 0, 1).inputs)

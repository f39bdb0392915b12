"""What a task has that says nothing of its own."""

import numpy as np
import pytest

from seqsuite.tasks.base import ACCURACY, Batch, EvalSet, Metric, ModelIO, Split, Task, bits_per


class Least(Task):
    """As little as a task can be."""

    io = ModelIO(seqlen=8, vocab_size=2)

    def train_batch(self, rows: range) -> Batch:
        return Batch(np.zeros((len(rows), 8), np.int64), np.zeros((len(rows), 8), np.int64))

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        return (EvalSet(split, "all", 4, 8),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        return self.train_batch(rows)


def test_what_a_task_is_by_default() -> None:
    task = Least(seed=0)
    (which,) = task.eval_sets("test")
    assert task.prompt().tolist() == [0]
    assert (task.sample_count, task.sample_length, task.judge) == (4, None, None)
    assert (task.metrics, task.unit, task.class_names) == ((ACCURACY,), "token", ())
    assert (task.fingerprint(), task.describe(), task.baselines(which)) == ("", None, ())
    assert which.lanes == 0
    assert (task.codec, task.token_units, task.loss_by_position) == (None, None, False)


@pytest.mark.parametrize(("evaluated", "longest"), [(None, 8), (7, 8), (9, 9)])
def test_the_longest_sequence_is_of_training_or_evaluation(evaluated: int | None, longest: int) -> None:
    assert ModelIO(seqlen=8, eval_seqlen=evaluated).longest == longest


def test_digits_that_matter() -> None:
    assert Metric("accuracy", "%", higher_is_better=True, digits=2) == ACCURACY
    assert bits_per("byte") == Metric("bits_per_byte", "bits", higher_is_better=False, digits=3)

"""What a task does wrong is told in a sentence: the task, the rows, what came and what is expected."""

from typing import Any

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import ACCURACY, IGNORE, Batch, EvalSet, Metric, ModelIO, Task
from seqsuite.tasks.checks import (
    check_batch,
    check_counted,
    check_evaluations,
    check_metrics,
    check_sets,
    checked_row,
    checked_scores,
)
from seqsuite.tasks.mqar import MQAR

TOKENS = ModelIO(vocab_size=4, seqlen=3)
LABELS = ModelIO(vocab_size=4, seqlen=3, n_labels=2)
CLASSES = ModelIO(vocab_size=4, seqlen=3, n_classes=2)
NUMBERS = ModelIO(d_input=2, seqlen=3, d_target=1)
WHICH = EvalSet("test", "long", 8, 5)


class Own(Task):
    """Whatever it is told to be."""

    def __init__(self, io: ModelIO = TOKENS, sets: tuple[EvalSet, ...] = (), batch: Any = None) -> None:
        super().__init__(seed=0)
        self.io, self.sets, self.batch = io, sets, batch

    def train_batch(self, rows):
        raise NotImplementedError

    def eval_sets(self, split):
        return tuple(which for which in self.sets if which.split == split)

    def eval_batch(self, which, rows):
        return self.batch(which, rows)


def tokens(*shape: int) -> Any:
    return np.ones(shape, np.int64)


def numbers(*shape: int) -> Any:
    return np.ones(shape, np.float32)


ROWS = [
    (TOKENS, tokens(3), "makes an array of shape (3,) for training row 7: expected a pair"),
    (TOKENS, (tokens(3),), "makes 1 part for training row 7"),
    (TOKENS, ([1, 2], [[1], [1, 2]]), "makes lists of unequal lengths for training row 7"),
    (
        TOKENS,
        (tokens(3), tokens(2)),
        "targets of shape (2,) in training row 7: io.vocab_size=4 asks for (3,)",
    ),
    (
        TOKENS,
        (np.full(3, 1.5), tokens(3)),
        "inputs of float64 in training row 7: io.vocab_size=4 asks for whole",
    ),
    (TOKENS, (tokens(3), np.full(3, 1.5)), "targets of float64 in training row 7: io.vocab_size=4 asks"),
    (TOKENS, (np.int64(3), tokens(3)), "inputs of shape () in training row 7: io.vocab_size=4 asks for (L,)"),
    (TOKENS, (tokens(4), tokens(4)), "4 positions in training row 7: io.seqlen=3 is the most"),
    (LABELS, (tokens(3), np.int64(1)), "targets of shape () in training row 7: io.n_labels=2 asks for (3,)"),
    (CLASSES, (tokens(3), tokens(3)), "targets of shape (3,) in training row 7: io.n_classes=2 asks for ()"),
    (
        CLASSES,
        (tokens(3), 0.5),
        "targets of float64 in training row 7: io.n_classes=2 asks for whole numbers",
    ),
    (
        NUMBERS,
        (numbers(3), numbers(3, 1)),
        "inputs of shape (3,) in training row 7: io.d_input=2 asks for (L, 2)",
    ),
    (
        NUMBERS,
        (numbers(3, 2), numbers(3)),
        "targets of shape (3,) in training row 7: io.d_target=1 asks for (3, 1)",
    ),
    (NUMBERS, (numbers(3, 2), numbers(1)), "targets of shape (1,) in training row 7"),
    (
        NUMBERS,
        (np.array([["a", "b"]]), numbers(1, 1)),
        "inputs of <U1 in training row 7: io.d_input=2 asks for num",
    ),
]


@pytest.mark.parametrize(("io", "made", "said"), ROWS)
def test_a_row_that_is_not_as_io_says(io: ModelIO, made: object, said: str) -> None:
    with pytest.raises(UserError) as error:
        checked_row(Own(io), made, 7)
    assert str(error.value).startswith(
        f"The task Own {said}" if said.startswith("makes") else "The task Own has"
    )
    assert said in str(error.value)
    assert str(error.value).endswith(".")


def test_rows_may_be_shorter_lists_and_have_nothing() -> None:
    inputs, targets = checked_row(Own(), ([1, 2], [True, False]), 0)
    assert (inputs.tolist(), targets.tolist()) == ([1, 2], [1, 0])
    assert checked_row(Own(), ([], []), 0)[0].shape == (0,)
    checked_row(Own(), (tokens(5), tokens(5)), 0, WHICH)
    with pytest.raises(
        UserError, match=r"6 positions in row 2 of the test set 'long': its EvalSet\.seqlen=5"
    ):
        checked_row(Own(), (tokens(6), tokens(6)), 2, WHICH)


def changed(values: Any, value: float) -> Any:
    """Return the values with another one in the second row."""
    values = values.copy()
    values[(1, *[0] * (values.ndim - 1))] = value
    return values


def packed(offsets: list[int], targets: Any = None) -> Batch:
    return Batch(tokens(1, 4), tokens(1, 4) if targets is None else targets, cu_seqlens=np.array(offsets))


BATCHES = [
    (
        TOKENS,
        Batch(changed(tokens(2, 3), 4), tokens(2, 3)),
        "the token 4 in training row 6: io.vocab_size=4 asks for 0 to 3.",
    ),
    (TOKENS, Batch(changed(tokens(2, 3), -1), tokens(2, 3)), "the token -1 in training row 6"),
    (
        TOKENS,
        Batch(tokens(2, 3), changed(tokens(2, 3), 4)),
        "the target 4 in training row 6: io.vocab_size=4 asks for 0 to 3, and -100 where none counts.",
    ),
    (TOKENS, Batch(tokens(2, 3), changed(tokens(2, 3), -1)), "the target -1 in training row 6"),
    (
        LABELS,
        Batch(tokens(2, 3), changed(tokens(2, 3), 2)),
        "the target 2 in training row 6: io.n_labels=2 asks for 0 to 1",
    ),
    (
        CLASSES,
        Batch(tokens(2, 3), changed(tokens(2), 2)),
        "the target 2 in training row 6: io.n_classes=2 asks for 0 to 1",
    ),
    (
        CLASSES,
        Batch(tokens(2, 3), tokens(2, 3)),
        "targets of shape (2, 3) in training rows 5 to 6: io.n_classes=2 asks for (2,), one class",
    ),
    (
        NUMBERS,
        Batch(numbers(2, 3, 2), numbers(2, 3)),
        "targets of shape (2, 3) in training rows 5 to 6: io.d_target=1 asks for (2, 3, 1), that many",
    ),
    (
        NUMBERS,
        Batch(numbers(2, 3), numbers(2, 3, 1)),
        "inputs of shape (2, 3) in training rows 5 to 6: io.d_input=2 asks for (B, L, 2).",
    ),
    (
        NUMBERS,
        Batch(changed(numbers(2, 3, 2), np.nan), numbers(2, 3, 1)),
        "inputs that are NaN or infinite in training row 6.",
    ),
    (
        NUMBERS,
        Batch(changed(numbers(2, 3, 2), np.inf), numbers(2, 3, 1)),
        "inputs that are NaN or infinite in training row 6.",
    ),
    (
        NUMBERS,
        Batch(numbers(2, 3, 2), changed(numbers(2, 3, 1), np.inf)),
        "infinite targets in training row 6",
    ),
    (
        NUMBERS,
        Batch(numbers(2, 3, 2).astype(float), numbers(2, 3, 1)),
        "inputs of float64 in training rows 5 to 6: io.d_input=2 asks for float32.",
    ),
    (
        TOKENS,
        Batch(numbers(2, 3), tokens(2, 3)),
        "inputs of float32 in training rows 5 to 6: io.vocab_size=4 asks for int64.",
    ),
    (TOKENS, Batch(tokens(2, 4), tokens(2, 4)), "4 positions in training rows 5 to 6: io.seqlen=3"),
    (TOKENS, Batch(tokens(1, 3), tokens(1, 3)), "a batch of 1 for training rows 5 to 6: expected 2."),
    (
        TOKENS,
        Batch(tokens(3), tokens(3)),
        "inputs of shape (3,) in training rows 5 to 6: io.vocab_size=4 asks for (B, L).",
    ),
    (
        TOKENS,
        Batch(tokens(2, 2), tokens(2, 2), cu_seqlens=np.array([0, 2])),
        "a batch of 2 for training rows",
    ),
    (TOKENS, Batch(tokens(2, 3), tokens(2, 3), np.array([3, 4])), "lengths [3, 4] in training rows 5 to 6"),
    (TOKENS, Batch(tokens(2, 3), tokens(2, 3), np.array([3])), "lengths [3] in training rows 5 to 6"),
    (TOKENS, Batch([[1], [2]], tokens(2, 1)), "inputs that are a value of type list in training rows 5 to 6"),  # type: ignore[arg-type]
    (TOKENS, (tokens(2, 3), tokens(2, 3)), "gives 2 parts for training rows 5 to 6: expected a Batch."),
    (TOKENS, packed([0, 4]), "4 positions in training rows 5 to 6: io.seqlen=3"),
    (TOKENS, packed([0, 3]), "cu_seqlens in training rows 5 to 6 that are no offsets"),
    (TOKENS, packed([0, 3, 2, 4]), "cu_seqlens"),
    (TOKENS, packed([0, 2, 4], tokens(1, 4) * 9), "the target 9 in training rows 5 to 6"),
    (
        CLASSES,
        packed([0, 2, 4], tokens(3)),
        "targets of shape (3,) in training rows 5 to 6: io.n_classes=2 asks for (2,)",
    ),
]


@pytest.mark.parametrize(("io", "batch", "said"), BATCHES)
def test_a_batch_that_is_not_as_io_says(io: ModelIO, batch: Batch, said: str) -> None:
    with pytest.raises(UserError) as error:
        check_batch(Own(io), batch, range(5, 7))
    assert str(error.value).startswith("The task Own ")
    assert said in str(error.value)


def test_batches_that_are_as_io_says() -> None:
    nothing = np.full((2, 3), IGNORE)
    gaps = np.full((2, 3, 1), np.nan, dtype=np.float32)
    for io, batch in (
        (TOKENS, Batch(tokens(2, 3), nothing)),
        (TOKENS, Batch(tokens(2, 2), tokens(2, 2), lengths=np.array([1, 2]))),
        (TOKENS, Batch(tokens(2, 0), tokens(2, 0))),
        (CLASSES, Batch(tokens(2, 3), np.array([0, IGNORE]))),
        (NUMBERS, Batch(numbers(2, 3, 2), gaps)),
        (TOKENS, packed([0, 3, 3, 4])),
        (CLASSES, packed([0, 2, 4], tokens(2))),
    ):
        check_batch(Own(io), batch, range(2))
    check_batch(Own(), Batch(tokens(2, 5), tokens(2, 5)), range(2), WHICH)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([], "has no evaluation set for test"),
        ([WHICH, WHICH], "has two test sets of the name 'long'"),
        ([EvalSet("validation", "x", 1, 1)], "returns the validation set 'x' when asked for those of test"),
        ([EvalSet("test", "x", 0, 4)], "has the test set 'x' of 0 x 4"),
    ],
)
def test_sets_that_cannot_be_told_apart_or_scored(sets: list[EvalSet], said: str) -> None:
    with pytest.raises(UserError, match=f"^The task Own {said}"):
        check_sets(Own(), "test", sets)


def test_the_first_row_of_every_set_is_looked_at() -> None:
    sets = tuple(EvalSet(split, name, 8, 5) for split in ("validation", "test") for name in ("a", "b"))
    asked = []

    def batch(which: EvalSet, rows: range) -> Batch:
        asked.append((which, rows))
        return Batch(tokens(1, 5), tokens(1, 5) * (9 if which == sets[-1] else 1))

    with pytest.raises(UserError, match="the target 9 in row 0 of the test set 'b'"):
        check_evaluations(Own(TOKENS, sets, batch))
    assert asked == [(which, range(1)) for which in sets]


def test_a_set_without_targets_is_not_scored() -> None:
    check_counted(Own(), WHICH, 1.0)
    with pytest.raises(UserError, match="The task Own has no target that counts in its test set 'long'"):
        check_counted(Own(), WHICH, 0.0)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ((Metric("f1"),), "has the metric 'f1', which nothing computes for it: choose from accuracy, loss."),
        ((ACCURACY, Metric("acuracy")), "Did you mean 'accuracy'?"),
        ((Metric("there/accuracy"),), "has the metric 'there/accuracy'"),
        ((), "has no metrics"),
    ],
)
def test_metrics_that_nothing_computes(metrics: tuple[Metric, ...], said: str) -> None:
    task = Own(sets=(EvalSet("validation", "first", 1, 1), EvalSet("validation", "other", 1, 1)))
    task.metrics = (Metric("loss"), Metric("other/accuracy"))  # type: ignore[misc]
    check_metrics(task, ("accuracy", "loss"))
    task.metrics = metrics  # type: ignore[misc]
    with pytest.raises(UserError) as error:
        check_metrics(task, ("accuracy", "loss"))
    assert said in str(error.value)


def balance(samples: object, task: object) -> dict[str, float]:
    return {}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (3.0, "a value of type float: expected a number for each name"),
        (np.zeros(3), r"an array of shape \(3,\): expected"),
        (None, "a value of type NoneType"),
        ({"x": np.arange(3)}, r"an array of shape \(3,\) for 'x'"),
        ({"x": "1"}, "a value of type str for 'x'"),
        ({"x": None}, "a value of type NoneType for 'x'"),
        ({3: 1.0}, "for 3"),
    ],
)
def test_a_sample_metric_that_returns_something_else(found: object, said: str) -> None:
    with pytest.raises(
        UserError, match=f"^The task Own has the sample metric balance, which returned .*{said}"
    ):
        checked_scores(Own(), balance, found)


def test_a_sample_metric_may_return_any_kind_of_number() -> None:
    found = checked_scores(Own(), balance, {"a": 1, "b": np.float32(0.5), "c": np.array(2)})
    assert found == {"a": 1.0, "b": 0.5, "c": 2.0}
    assert all(type(value) is float for value in found.values())


def test_a_task_of_the_house_is_as_it_says() -> None:
    task = MQAR(seed=0, length=32, pairs=4, vocab_size=64)
    check_batch(task, task.train_batch(range(3, 5)), range(3, 5))
    check_evaluations(task)

"""What training takes from a task: all kinds of targets, and data that fails or is wrong."""

import math

import numpy as np
import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.tasks.base import IGNORE, Batch, EvalSet, Metric, ModelIO, Task
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask

from .curves import Points, train
from .five_tokens import FiveTokens


class Empty(FiveTokens):
    """Every third row has no target."""

    def targets(self, row, tokens):
        return np.full(5, IGNORE) if row % 3 == 0 else tokens


def test_a_batch_without_targets_is_a_step_like_others(make_trainer) -> None:
    _, points = train(make_trainer, task=Empty(), train__batch_size="1")
    assert points[schema.TRAIN_LOSS][1] == 0.0  # row 0
    assert all(math.isfinite(value) for value in points[schema.TRAIN_LOSS].values())


class Classes(RowTask):
    """Is a sequence's first token larger than its last? Lengths vary, and two sets are evaluated."""

    eval_rows = 16

    def __init__(self, packed: bool = False) -> None:
        super().__init__(seed=0)
        self.packed = packed
        self.io = ModelIO(vocab_size=8, seqlen=10, eval_seqlen=20, n_classes=2)

    def row(self, split, row):
        rng = row_rng(self.seed, split, row)
        tokens = rng.integers(0, 8, rng.integers(3, self.io.seqlen + 1))
        return tokens, np.int64(tokens[0] > tokens[-1])

    def eval_sets(self, split):
        return (*super().eval_sets(split), EvalSet(split, "long", 8, 20))

    def eval_row(self, which, row):
        if which.name == "all":
            return self.row(which.split, row)
        tokens = row_rng(self.seed, which.split, 1000 + row).integers(0, 8, 20)
        return tokens, np.int64(tokens[0] > tokens[-1])


@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_whole_sequences_are_classified_padded_or_packed(make_trainer, model) -> None:
    _, padded = train(make_trainer, "padded", task=Classes(), model=model, dtype=torch.float64)
    _, packed = train(make_trainer, "packed", task=Classes(packed=True), model=model, dtype=torch.float64)
    for name in (schema.TRAIN_LOSS, "validation/accuracy", "validation/long/accuracy"):
        for step, value in padded[name].items():
            assert packed[name][step] == pytest.approx(value, rel=1e-9)
    assert "validation/bits_per_token" not in padded


class Numbers(RowTask):
    """Continuous inputs: the running mean of two channels."""

    eval_rows = 8
    metrics = (Metric("mse"),)

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(d_input=2, seqlen=12, d_target=1)

    def row(self, split, row):
        values = row_rng(self.seed, split, row).normal(size=(12, 2))
        mean = values.cumsum(0) / np.arange(1, 13)[:, None]
        return values, mean.mean(1, keepdims=True)


def test_numbers_are_regressed(make_trainer) -> None:
    settings = {"train__steps": "60", "train__eval_every": "30", "train__learning_rate": "1e-2"}
    trainer, points = train(make_trainer, task=Numbers(), **settings)
    first, last = points["validation/mse"].values()
    assert last < first
    assert points["validation/mae"][60] == pytest.approx(math.sqrt(last), rel=1)
    assert trainer.progress.best == min(first, last)


class Broken(Task):
    """Its data vanishes after two steps."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(vocab_size=4, seqlen=5)

    def train_batch(self, rows: range) -> Batch:
        if rows.start >= 16:
            raise UserError("the data is gone")
        tokens = np.zeros((len(rows), 5), dtype=np.int64)
        return Batch(tokens, tokens)

    def eval_sets(self, split):
        return (EvalSet(split, "all", 1, 5),)

    def eval_batch(self, which, rows):
        return self.train_batch(range(1))


def test_what_fails_while_data_is_prepared_is_raised_in_training(make_trainer) -> None:
    with pytest.raises(UserError, match="the data is gone"):
        train(make_trainer, task=Broken())


class Wrong(FiveTokens):
    """A token that there is not, in a late row of training."""

    def targets(self, row, tokens):
        return np.where(row == 70, 9, tokens)


def test_a_row_of_training_is_checked_before_it_is_trained_on(make_trainer) -> None:
    points = Points()
    trainer = make_trainer(task=Wrong(), callbacks=[points], train__batch_size="32", train__log_every="1")
    with pytest.raises(
        UserError, match=r"^The task Wrong has the target 9 in training row 70: io\.vocab_size=4"
    ):
        trainer.train(InterruptionFlag())
    assert list(points.points[schema.TRAIN_LOSS]) == [1, 2]


def test_inputs_that_are_not_finite_are_the_tasks_and_no_divergence(make_trainer) -> None:
    class Holes(RowTask):
        metrics = (Metric("mse"),)

        def __init__(self) -> None:
            super().__init__(seed=0)
            self.io = ModelIO(d_input=1, seqlen=4, d_target=1)

        def row(self, split, row):
            return np.full((4, 1), np.nan), np.zeros((4, 1))

    with pytest.raises(
        UserError, match="The task Holes has inputs that are NaN or infinite in training row 0"
    ):
        make_trainer(task=Holes()).train(InterruptionFlag())


def test_a_metric_that_nothing_computes_is_refused_at_once(make_trainer) -> None:
    task = Wrong()
    task.metrics = (Metric("f1"),)  # type: ignore[misc]
    said = "The task Wrong has the metric 'f1', .* choose from accuracy, bits_per_token, perplexity, loss"
    with pytest.raises(UserError, match=said):
        make_trainer(task=task)

"""Single steps of training, with numbers worked out beside it, and the moments at which it does something."""

import copy
import itertools
import math
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training import batches as batches_module
from seqsuite.experiments.training import trainer as trainer_module
from seqsuite.experiments.training.callbacks import Callback, Patience
from seqsuite.experiments.training.divergence import DivergenceError
from seqsuite.experiments.training.objectives import CrossEntropy
from seqsuite.experiments.training.progress import Progress
from seqsuite.tasks.base import IGNORE

from ...graph_recorder import Recorder
from . import curves
from .curves import Points
from .five_tokens import FiveTokens

TINY = {"model__d_model": "8", "model__n_layer": "1", "task.eval_examples": "8"}
SETTINGS = curves.SETTINGS | TINY


def train(make_trainer, folder: str = "run", **settings):
    return curves.train(make_trainer, folder, **{**TINY, **settings})


class LastTarget(FiveTokens):
    """Of each row one target counts."""

    def targets(self, row, tokens):
        return np.where(np.arange(5) < 4, IGNORE, tokens)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_step_goes_down_the_gradient_of_the_mean_loss_of_its_rows(make_trainer, batch_size) -> None:
    task, points = LastTarget(), Points()
    rate, clip = 1e-2, 0.01
    trainer = make_trainer(
        task=task,
        callbacks=[points],
        model__d_model="8",
        model__n_layer="1",
        dtype=torch.float64,
        train__steps="1",
        train__batch_size=str(batch_size),
        train__learning_rate=str(rate),
        train__warmup="0",
        train__schedule="constant",
        train__clip=str(clip),
        train__weight_decay="0",
    )
    by_hand = copy.deepcopy(trainer.parts.model)
    rows = [task.row("train", row) for row in range(batch_size)]
    inputs = torch.from_numpy(np.stack([tokens for tokens, _ in rows]))
    loss = F.cross_entropy(by_hand(inputs)[:, -1], inputs[:, -1])
    loss.backward()
    gradients = [weight.grad for weight in by_hand.parameters()]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    trainer.train(InterruptionFlag())
    assert points.points[schema.TRAIN_LOSS] == {1: pytest.approx(loss.item(), rel=1e-10)}
    assert points.points[schema.GRADIENT_NORM] == {1: pytest.approx(norm, rel=1e-10)}
    assert points.points[schema.LEARNING_RATE] == {1: rate}
    for weight, before, gradient in zip(
        trainer.parts.model.parameters(), by_hand.parameters(), gradients, strict=True
    ):
        clipped = gradient * clip / (norm + 1e-6)
        expected = before - rate * clipped / (clipped.abs() + 1e-8)  # Adam's first step
        torch.testing.assert_close(weight, expected, rtol=1e-9, atol=1e-12)


def test_training_begins_with_nothing_done(make_trainer) -> None:
    assert make_trainer().progress == Progress(
        step=0, tokens=0, evaluated_step=0, best=None, best_loss=math.inf, best_step=0, stopped=""
    )


@pytest.mark.parametrize(
    ("log_every", "eval_every", "logged", "evaluated"),
    [
        (None, "1", [1, 2, 3], [1, 2, 3]),
        ("2", "2", [2, 3], [2, 3]),
        ("3", "4", [3], [3]),
    ],
)
def test_points_are_logged_and_scored_at_multiples_and_at_the_end(
    make_trainer, log_every, eval_every, logged, evaluated
) -> None:
    settings = {"train__log_every": log_every, "train__eval_every": eval_every}
    _, points = train(make_trainer, train__steps="3", **settings)
    assert list(points[schema.TRAIN_LOSS]) == logged
    assert list(points[schema.VALIDATION_LOSS]) == evaluated


def test_the_loss_of_a_step_is_told_and_gradients_meet_at_its_last_part(make_trainer, monkeypatch) -> None:
    told, lasts = {}, []

    class Listen(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            told[step] = loss

    points = Points()
    trainer = make_trainer(callbacks=[points, Listen()], **SETTINGS, train__accumulate="4")
    monkeypatch.setattr(
        trainer.parts.placement, "accumulating", lambda last: (lasts.append(last), nullcontext())[1]
    )
    trainer.train(InterruptionFlag())
    assert told == points.points[schema.TRAIN_LOSS]
    assert lasts == [False, False, False, True] * 6


def test_time_is_that_of_steps_and_its_limit_ends_training(make_trainer, monkeypatch) -> None:
    """By a clock that goes on by one second each time that it is read."""
    clock = SimpleNamespace(perf_counter=itertools.count(0.0).__next__)
    for module in (trainer_module, batches_module):
        monkeypatch.setattr(module, "time", clock)
    trainer, points = train(make_trainer, "whole")
    tokens = 8 * trainer.parts.task.io.seqlen
    progress = trainer.progress
    assert (progress.seconds, progress.waited, progress.tokens) == (18.0, 6.0, 6 * tokens)
    assert set(points[schema.SPEED].values()) == {tokens / 3}
    assert progress.tokens_per_second() == tokens / 3
    stopped, points = train(make_trainer, "stopped", train__max_time="6")
    assert stopped.progress.step == 2
    assert stopped.progress.stopped == "train.max_time=6 seconds of training are over"
    assert list(points[schema.VALIDATION_LOSS]) == [2]
    at_the_end, _ = train(make_trainer, "end", train__max_time="18")
    assert (at_the_end.progress.step, at_the_end.progress.stopped) == (6, "")


def test_of_equal_evaluations_the_first_is_best_and_a_last_word_stops_nothing(
    make_trainer, monkeypatch
) -> None:
    class Enough(Callback):
        def evaluated(self, step, metrics) -> str | None:
            return "enough" if step == 6 else None

    trainer = make_trainer(callbacks=[Enough()], **SETTINGS)
    monkeypatch.setattr(trainer, "score", lambda *_: {"loss": 1.0, "accuracy": 50.0})
    trainer.train(InterruptionFlag())
    progress = trainer.progress
    assert (progress.best, progress.best_loss, progress.best_step) == (50.0, 1.0, 3)
    assert progress.stopped == ""
    newest = trainer.parts.checkpoints.newest()
    assert newest is not None
    assert newest.name == "step-000000006"


@pytest.mark.parametrize("scores", [{"loss": math.inf, "accuracy": 5.0}, {"loss": 1.0, "accuracy": math.nan}])
def test_an_evaluation_that_is_not_finite_is_divergence(make_trainer, monkeypatch, scores) -> None:
    trainer = make_trainer(**SETTINGS)
    monkeypatch.setattr(trainer, "score", lambda *_: scores)
    told = f"the validation loss is {scores['loss']} after step 3: try a lower train.learning_rate."
    with pytest.raises(DivergenceError) as raised:
        trainer.train(InterruptionFlag())
    assert str(raised.value) == told


def test_outputs_that_overflow_are_told_from_weights_that_do(make_trainer, monkeypatch) -> None:
    real, added = CrossEntropy.loss, itertools.chain([0.0], itertools.repeat(math.inf))
    monkeypatch.setattr(CrossEntropy, "loss", lambda *given: real(*given) + next(added))
    with pytest.raises(DivergenceError) as raised:
        train(make_trainer)
    assert str(raised.value) == (
        "the loss is inf at step 2 though every parameter and gradient is finite: the outputs have "
        "overflowed; try a lower train.learning_rate."
    )


def test_steps_are_graphs_only_where_they_are_wanted(make_trainer) -> None:
    for wanted, recorded in (("off", 0), ("auto", 1)):
        recorder = Recorder()
        train(make_trainer, wanted, recorder=recorder, train__graphs=wanted)
        assert recorder.recorded == recorded


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_patience_counts_evaluations_that_are_no_better(higher_is_better) -> None:
    values = (3.0, 3.0, 4.0, 4.0, 2.0) if higher_is_better else (3.0, 3.0, 2.0, 2.0, 4.0)
    stop = Patience(2, "score", higher_is_better)
    told = [stop.evaluated(step, {"score": value}) for step, value in enumerate(values)]
    assert told[:4] == [None] * 4
    assert told[4] == "score has not improved over 2 evaluations (train.patience)"
    fresh = Patience(1, "score", higher_is_better)
    assert fresh.state_dict() == {"best": None, "since": 0}
    assert fresh.evaluated(0, {"score": 1.0}) is None
    assert fresh.evaluated(1, {"score": 1.0}) is not None

"""Training: the same numbers however a step is computed, and what stops it."""

import logging
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training.callbacks import Callback, Patience
from seqsuite.experiments.training.divergence import DivergenceError
from seqsuite.experiments.training.placement import Single, check_batches, split_rows
from seqsuite.tasks.base import ModelIO
from seqsuite.tasks.rows import RowTask

from .curves import SETTINGS, Points, train


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_accumulation_changes_neither_rows_nor_losses(make_trainer, model, dtype, tolerance) -> None:
    _, whole = train(make_trainer, "whole", model=model, dtype=dtype)
    _, parts = train(make_trainer, "parts", model=model, dtype=dtype, train__accumulate="4")
    for name in (schema.TRAIN_LOSS, schema.VALIDATION_LOSS):
        assert whole[name].keys() == parts[name].keys()
        for step, value in whole[name].items():
            assert parts[name][step] == pytest.approx(value, rel=tolerance, abs=tolerance)


def test_parts_of_a_step_are_its_rows() -> None:
    placement = Single(torch.device("cpu"), TrainConfig(batch_size=8, accumulate=4))
    assert placement.rows(3) == [range(24, 26), range(26, 28), range(28, 30), range(30, 32)]
    assert split_rows(range(5, 9), 1) == [range(5, 9)]
    with pytest.raises(UserError, match=r"train\.batch_size=8 cannot be cut into train\.accumulate=3"):
        check_batches(TrainConfig(batch_size=8, accumulate=3), ModelIO(seqlen=4))
    with pytest.raises(UserError, match=r"train\.batch_size=8 and task\.lanes=4 must be equal"):
        check_batches(TrainConfig(batch_size=8), ModelIO(seqlen=4, lanes=4))


def test_a_curve_has_what_users_expect(make_trainer) -> None:
    _, points = train(make_trainer, train__log_every="2")
    assert list(points[schema.TRAIN_LOSS]) == [2, 4, 6]
    assert list(points["validation/accuracy"]) == [3, 6]
    for name in (schema.GRADIENT_NORM, schema.LEARNING_RATE, schema.SPEED):
        assert all(math.isfinite(value) and value > 0 for value in points[name].values())
    for step, value in points[schema.LARGEST_LOSS].items():
        assert value >= points[schema.TRAIN_LOSS][step]


class Reads(TorchDispatchMode):
    """Counts how often the host waits for numbers: by ``item()``, ``tolist()`` and ``float()``."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_an_accelerator_is_asked_for_numbers_once_a_logged_step(make_trainer, monkeypatch) -> None:
    """As nothing but the loop looks at the device's kind, this one computes on the CPU all the same."""
    reads = Reads()
    waits: list[int] = []

    class Watch(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            waits.append(reads.count)
            assert (loss is None) == (step % 2 == 1)

    asked = []
    real = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda values: (asked.append(len(values)), real(values))[1])
    trainer = make_trainer(callbacks=[Watch()], **{**SETTINGS, "train__log_every": "2"})
    monkeypatch.setattr(trainer.parts.placement, "device", torch.device("xpu"))
    monkeypatch.setattr(trainer, "score", lambda *_: {"loss": 1.0, "accuracy": 50.0})
    with reads:
        trainer.train(InterruptionFlag())
    assert asked == [3, 3, 3]
    assert waits == [0] * 6


def test_the_largest_loss_between_points_is_kept(make_trainer) -> None:
    _, every = train(make_trainer, "every")
    _, points = train(make_trainer, "some", train__log_every="3")
    losses = every[schema.TRAIN_LOSS]
    assert points[schema.LARGEST_LOSS] == {
        3: max(losses[step] for step in (1, 2, 3)),
        6: max(losses[step] for step in (4, 5, 6)),
    }


def test_clipping_bounds_what_the_optimizer_sees(make_trainer) -> None:
    trainer, points = train(make_trainer, train__clip="0.01")
    gradients = [parameter.grad for parameter in trainer.parts.model.parameters()]
    norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients if g is not None]))
    assert norm.item() == pytest.approx(0.01, rel=1e-3)
    assert min(points[schema.GRADIENT_NORM].values()) > 0.01


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("model", ["mamba", "s4", "transformer"])
def test_fewer_bits_train_to_nearly_the_same_loss(make_trainer, model, precision) -> None:
    _, full = train(make_trainer, "full", model=model)
    trainer, points = train(make_trainer, "few", model=model, train__precision=precision)
    assert all(parameter.dtype == torch.float32 for parameter in trainer.parts.model.parameters())
    for step, value in full[schema.TRAIN_LOSS].items():
        assert points[schema.TRAIN_LOSS][step] == pytest.approx(value, rel=0.02)


def test_an_average_of_the_weights_is_evaluated_and_published(make_trainer) -> None:
    trainer, points = train(make_trainer, "average", train__ema="0.5")
    _, plain = train(make_trainer, "plain")
    assert points[schema.TRAIN_LOSS] == plain[schema.TRAIN_LOSS]
    assert points[schema.VALIDATION_LOSS][6] != plain[schema.VALIDATION_LOSS][6]
    metrics = trainer.score("validation", InterruptionFlag())
    assert metrics is not None
    assert metrics["loss"] == points[schema.VALIDATION_LOSS][6]


def test_patience_ends_training_and_says_why(make_trainer, caplog) -> None:
    caplog.set_level(logging.INFO, "seqsuite")
    stop = Patience(2, "accuracy", higher_is_better=True)
    assert [stop.evaluated(step, {"accuracy": value}) for step, value in enumerate((1, 3, 2))] == [None] * 3
    again = Patience(2, "accuracy", higher_is_better=True)
    again.load_state_dict(stop.state_dict())
    reason = again.evaluated(3, {"accuracy": 3.0})
    assert reason == "accuracy has not improved over 2 evaluations (train.patience)"

    class Never(Callback):
        def evaluated(self, step, metrics) -> str:
            return "enough"

    trainer, points = train(make_trainer, callbacks=[Never()])
    assert (trainer.progress.step, trainer.progress.stopped) == (3, "enough")
    assert "Training ended with step 3: enough." in caplog.text
    assert list(points[schema.VALIDATION_LOSS]) == [3]
    best = trainer.parts.checkpoints.best()
    assert best is not None
    assert best.name == "step-000000003"


def test_max_time_ends_training_after_a_last_evaluation(make_trainer) -> None:
    trainer, points = train(make_trainer, train__max_time="1e-9")
    assert trainer.progress.step == 1
    assert "train.max_time=1e-09 seconds" in trainer.progress.stopped
    assert list(points[schema.VALIDATION_LOSS]) == [1]


class Same(RowTask):
    """One token, for ever: soon always right, and then only surer."""

    eval_rows = 4

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(vocab_size=4, seqlen=6)

    def row(self, split, row):
        return np.ones(6, np.int64), np.ones(6, np.int64)


def test_of_equal_scores_the_one_with_the_lower_loss_is_best(make_trainer) -> None:
    settings = {"train__steps": "30", "train__eval_every": "10", "train__learning_rate": "1e-2"}
    trainer, points = train(make_trainer, task=Same(), **settings)
    accuracy, loss = points["validation/accuracy"], points[schema.VALIDATION_LOSS]
    assert accuracy[10] == accuracy[30] == 100.0
    assert loss[30] < loss[10]
    assert (trainer.progress.best_step, trainer.progress.best_loss) == (30, loss[30])


def test_divergence_names_what_is_not_finite(make_trainer) -> None:
    with pytest.raises(DivergenceError, match="is not finite at step 2"):
        train(make_trainer, train__learning_rate="1e30", train__clip=None, train__warmup="0")


def test_speed_is_tokens_by_the_time_that_steps_took(make_trainer) -> None:
    trainer, points = train(make_trainer, train__accumulate="2")
    tokens = 8 * trainer.parts.task.io.seqlen  # of each step
    speeds = points[schema.SPEED].values()
    assert trainer.progress.tokens == 6 * tokens
    assert trainer.progress.seconds == pytest.approx(sum(tokens / speed for speed in speeds))
    assert trainer.progress.tokens_per_second() == pytest.approx(6 * tokens / trainer.progress.seconds)
    assert 0 <= trainer.progress.waited <= trainer.progress.seconds


def test_a_long_training_logs_five_hundred_points(make_trainer) -> None:
    class Stop(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            flag.requested = step == 4

    flag, points = InterruptionFlag(), Points()
    settings = {**SETTINGS, "train__steps": "1000"}
    del settings["train__log_every"]
    with pytest.raises(Interrupted):
        make_trainer(callbacks=[points], **settings).train(flag, Stop())
    assert list(points.points[schema.TRAIN_LOSS]) == [2, 4]


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(make_trainer) -> None:
    trainer = make_trainer(**SETTINGS)
    name, parameter = next(iter(trainer.parts.model.named_parameters()))
    parameter.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergenceError, match=f"the gradient of {name} is not finite at step 1"):
        trainer.train(InterruptionFlag())

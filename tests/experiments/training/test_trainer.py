"""Training: the same numbers however a step is computed, and what stops it."""

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
from seqsuite.experiments.training.placement import Single, check_batches, split_rows
from seqsuite.experiments.training.trainer import DivergenceError
from seqsuite.tasks.base import IGNORE, Batch, EvalSet, Metric, ModelIO, Task
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask
from seqsuite.tasks.text import Text

from .curves import SETTINGS, Points, train
from .five_tokens import FiveTokens


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


@pytest.mark.parametrize("settings", [{}, {"train__ema": "0.5"}, {"train__optimizer": "muon"}])
def test_a_resumed_trainer_goes_on_with_the_same_bits(make_trainer, settings) -> None:
    quiet, expected = train(make_trainer, "quiet", **settings)

    class Stop(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            flag.requested = step == 4

    flag, points = InterruptionFlag(), Points()
    stopped = make_trainer("stopped", callbacks=[points], **SETTINGS, **settings)
    with pytest.raises(Interrupted):
        stopped.train(flag, Stop())
    resumed = make_trainer("stopped", callbacks=[points], **SETTINGS, **settings)
    newest = resumed.parts.checkpoints.newest()
    assert newest is not None
    resumed.resume(newest)
    assert resumed.progress.step == 4
    resumed.train(InterruptionFlag())
    for name, value in quiet.parts.model.state_dict().items():
        assert torch.equal(value, resumed.parts.model.state_dict()[name]), name
    for name in (schema.TRAIN_LOSS, schema.VALIDATION_LOSS, schema.GRADIENT_NORM):
        assert points.points[name] == expected[name]


def test_a_checkpoint_of_other_settings_is_refused(make_trainer) -> None:
    trainer, _ = train(make_trainer)
    newest = trainer.parts.checkpoints.newest()
    assert newest is not None
    with pytest.raises(UserError, match=r"cannot be resumed from .*--force"):
        make_trainer("other", **SETTINGS, train__ema="0.5").resume(newest)


def test_patience_ends_training_and_says_why(make_trainer) -> None:
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


def test_divergence_names_what_is_not_finite(make_trainer) -> None:
    with pytest.raises(DivergenceError, match="is not finite at step 2"):
        train(make_trainer, train__learning_rate="1e30", train__clip=None, train__warmup="0")


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


@pytest.mark.parametrize("model", ["mamba", "transformer++", "s4"])
def test_carried_state_gives_the_values_of_the_whole_sequence(make_trainer, tmp_path, model) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(bytes(np.random.default_rng(0).integers(97, 123, 4000, dtype=np.uint8)))
    common = {"seed": 0, "path": file, "carry_state": True, "lanes": 2}
    chunked = Text(**common, seqlen=20, eval_examples=8)
    whole = Text(**common, seqlen=80, eval_examples=2)
    trainer = make_trainer("a", task=chunked, model=model, dtype=torch.float64, train__batch_size="2")
    scores = trainer.score("test", InterruptionFlag())
    trainer.parts = type(trainer.parts)(**{**trainer.parts.__dict__, "task": whole})
    assert scores is not None
    expected = trainer.score("test", InterruptionFlag())
    assert expected is not None
    assert chunked.eval_sets("test")[0].rows == 4 * whole.eval_sets("test")[0].rows
    assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-10)


def test_a_state_is_carried_on_from_the_last_of_several_chunks(make_trainer, tmp_path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("all the words of a long text, one after the other. " * 80)
    task = Text(seed=0, path=file, seqlen=15, eval_examples=8, carry_state=True, lanes=8)
    settings = {"task": task, "dtype": torch.float64}
    _, whole = train(make_trainer, "whole", **settings)
    _, chunked = train(make_trainer, "chunked", train__chunk="5", **settings)
    assert list(chunked[schema.TRAIN_LOSS].values()) == pytest.approx(
        list(whole[schema.TRAIN_LOSS].values()), rel=1e-10
    )


def test_training_with_a_carried_state_resumes_exactly(make_trainer, tmp_path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("all the words of a long text, one after the other. " * 80)
    task = Text(seed=0, path=file, seqlen=16, eval_examples=8, carry_state=True, lanes=8)
    _, expected = train(make_trainer, "quiet", task=task)

    class Stop(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            flag.requested = step == 4

    flag, points = InterruptionFlag(), Points()
    with pytest.raises(Interrupted):
        make_trainer("stopped", task=task, callbacks=[points], **SETTINGS).train(flag, Stop())
    resumed = make_trainer("stopped", task=task, callbacks=[points], **SETTINGS)
    newest = resumed.parts.checkpoints.newest()
    assert newest is not None
    resumed.resume(newest)
    resumed.train(InterruptionFlag())
    assert points.points[schema.TRAIN_LOSS] == expected[schema.TRAIN_LOSS]


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

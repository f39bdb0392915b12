"""Scoring: sequences longer than a model takes at once are fed in pieces, with the same numbers."""

import numpy as np
import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.scores import evaluate, in_pieces, unmeasurable
from seqsuite.models.build import build_shaped
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import IGNORE, EvalSet, ModelIO, Task
from seqsuite.tasks.induction_heads import InductionHeads
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask

from .five_tokens import FiveTokens


def build(model: str, task: Task, **settings: str) -> SequenceModel:
    keys = {
        "model.d_model": "16",
        "model.n_layer": "2",
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    config = resolve({"task": "selective_copying", "scale": "smoke", "model": model, **keys})
    torch.manual_seed(0)
    return build_shaped(config.model, shape_of(task.io)).double()


def scores(model: SequenceModel, task: Task, batch_size: int = 4) -> dict[str, float]:
    found = evaluate(
        model,
        task,
        "test",
        objective_for(task),
        batch_size=batch_size,
        placement=Single(torch.device("cpu"), TrainConfig()),
    )
    assert found is not None
    return found


@pytest.mark.parametrize("model", ["mamba", "mamba2", "s4", "retnet", "gated_deltanet"])
def test_pieces_have_the_numbers_of_the_whole(model) -> None:
    options = {"seed": 0, "length": 16, "max_length": 256, "vocab_size": 6, "eval_examples": 6}
    whole, pieces = InductionHeads(**options), InductionHeads(**options, longest_whole=40)
    assert (whole.io.longest, pieces.io.longest) == (256, 40)
    made = build(model, whole)
    expected, found = scores(made, whole), scores(made, pieces)
    assert "length_256/accuracy" in found
    assert found == pytest.approx(expected, rel=1e-9)


class Majority(RowTask):
    """Classes of sequences of two lengths, the longer of which is fed in pieces."""

    def __init__(self, *, seed: int, eval_seqlen: int) -> None:
        super().__init__(seed=seed)
        self.io = ModelIO(vocab_size=2, seqlen=8, n_classes=2, eval_seqlen=eval_seqlen)

    def eval_sets(self, split):
        return (EvalSet(split, "long", 12, 40),)

    def row(self, split, row):
        rng = row_rng(self.seed, split, row)
        bits = rng.integers(0, 2, rng.integers(1, 41))
        return bits, np.int64(bits.mean() > 0.5)


def test_classes_are_read_in_the_piece_in_which_a_sequence_ends() -> None:
    whole, pieces = Majority(seed=0, eval_seqlen=40), Majority(seed=0, eval_seqlen=11)
    model = build("mamba", whole)
    expected = scores(model, whole)
    assert scores(model, pieces) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("model", "settings", "left_out"),
    [
        ("mamba", {}, []),
        ("transformer", {}, ["length_64", "length_128"]),
        ("transformer++", {}, ["length_64", "length_128"]),
        ("transformer++", {"model__mixer__window": "32"}, []),
        ("mamba", {"model__positions": "learned"}, ["length_64", "length_128"]),
        ("hyena", {}, ["length_64", "length_128"]),
    ],
)
def test_a_model_that_cannot_go_on_is_not_measured_on_long_sets(model, settings, left_out) -> None:
    task = InductionHeads(seed=0, length=16, max_length=128, longest_whole=32, eval_examples=2)
    made = build(model, task, **settings)
    assert [which.name for which in unmeasurable(made, task, "test")] == left_out
    measured = scores(made, task)
    assert {name.split("/")[0] for name in measured if "/" in name} == {"length_64", "length_128"} - {
        *left_out
    }
    assert "accuracy" in measured


class Sets(RowTask):
    """Three sets of tokens, the last of which goes on from batch to batch; notes which rows are asked for."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(vocab_size=3, seqlen=8, eval_seqlen=100)
        self.asked: dict[str, list[range]] = {}

    def eval_sets(self, split):
        sets = (("all", 11, 8, 0), ("long", 5, 20, 0), ("longest", 2, 100, 0), ("on", 6, 8, 3))
        return tuple(EvalSet(split, name, rows, seqlen, lanes) for name, rows, seqlen, lanes in sets)

    def eval_batch(self, which, rows):
        self.asked.setdefault(which.name, []).append(rows)
        return super().eval_batch(which, rows)

    def row(self, split, row):
        tokens = row_rng(self.seed, split, row).integers(0, 3, 8)
        return tokens, tokens[::-1].copy()

    def eval_row(self, which, row):
        tokens = row_rng(self.seed, which.split, row).integers(0, 3, which.seqlen)
        return tokens, tokens[::-1].copy()


def test_batches_of_longer_sequences_have_fewer_rows() -> None:
    task = Sets()
    model = build("mamba", task, model__d_model="8", model__n_layer="1")
    found = scores(model, task, 5)
    assert task.asked == {
        "all": [range(5), range(5, 10), range(10, 11)],
        "long": [range(2), range(2, 4), range(4, 5)],  # 40 tokens at most
        "longest": [range(1), range(1, 2)],
        "on": [range(3), range(3, 6)],
    }
    assert {name.rpartition("/")[0] for name in found} == {"", "long", "longest", "on"}
    assert found == pytest.approx(scores(model, task, 64), rel=1e-9)
    assert found["on/loss"] != pytest.approx(found["loss"], rel=1e-3)


def test_pieces_say_what_goes_on_and_what_counts() -> None:
    task = Sets()
    model = build("mamba", task, model__d_model="8", model__n_layer="1")
    batch = task.eval_batch(task.eval_sets("test")[1], range(2))
    batch.targets[0, 0] = batch.targets[1, 15] = -100
    parts = [part for _, part in in_pieces(model, to_tensors(batch, torch.device("cpu")), 8)]
    assert [part.inputs.shape[1] for part in parts] == [8, 8, 4]
    assert [part.continues for part in parts] == [False, True, True]
    assert [part.counted for part in parts] == [15, 15, 8]


@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_sets_as_long_as_the_longest_are_measured_by_all_models(model) -> None:
    task = InductionHeads(seed=0, length=16, max_length=64, longest_whole=64, eval_examples=2)
    made = build(model, task, model__positions="learned")
    assert list(unmeasurable(made, task, "test")) == []


class Counted(FiveTokens):
    """Rows of which only the last few count."""

    uncounted = 4

    def targets(self, row, tokens):
        return np.full(5, IGNORE) if row < self.uncounted else tokens


def test_a_set_in_which_nothing_counts_is_refused_and_a_batch_is_not() -> None:
    task = Counted()
    model = build("mamba", task)
    with pytest.raises(UserError, match="no target that counts in its test set 'all': all of its 4 rows"):
        scores(model, task, 2)
    task.uncounted = 2
    assert scores(model, task, 2)["loss"] > 0


def test_rows_without_a_token_are_nothing_to_score() -> None:
    class Empty(FiveTokens):
        def row(self, split, row):
            return np.zeros(0, int), np.zeros(0, int)

        def targets(self, row, tokens):
            raise NotImplementedError

    task = Empty()
    with pytest.raises(UserError, match="no target that counts in its test set 'all'"):
        scores(build("mamba", task), task)


def test_sets_of_one_name_are_refused() -> None:
    class Twice(Sets):
        def eval_sets(self, split):
            return (EvalSet(split, "all", 4, 8), EvalSet(split, "all", 4, 8))

    task = Twice()
    with pytest.raises(UserError, match="The task Twice has two test sets of the name 'all'"):
        scores(build("mamba", task), task)


def test_rows_of_a_set_are_checked_wherever_they_are() -> None:
    class Late(Sets):
        def eval_row(self, which, row):
            tokens, targets = super().eval_row(which, row)
            return tokens + 3 * (row == 3), targets

    task = Late()
    with pytest.raises(UserError, match=r"the token \d in row 3 of the test set 'all': io.vocab_size=3"):
        scores(build("mamba", task), task, 2)


class Last(RowTask):
    """Numbers to regress, in as many rows as a row is long."""

    def __init__(self, targets: tuple[int, ...]) -> None:
        super().__init__(seed=0)
        self.shape = targets
        self.io = ModelIO(d_input=1, seqlen=4, d_target=1)
        self.eval_rows = 4  # type: ignore[misc]

    def row(self, split, row):
        numbers = row_rng(self.seed, split, row).normal(size=(4, 1))
        return numbers, numbers.reshape(self.shape)


def test_targets_of_another_shape_are_not_spread_over_positions() -> None:
    model = build("mamba", Last((4, 1))).float()
    assert scores(model, Last((4, 1)))["mse"] > 0
    with pytest.raises(
        UserError, match=r"targets of shape \(4,\) in row 0 of the test set 'all': io.d_target=1"
    ):
        scores(model, Last((4,)))

"""Scoring: sequences longer than a model takes at once are fed in pieces, with the same numbers."""

import numpy as np
import pytest
import torch

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.objectives import objective_for, shape_of
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.scores import evaluate, unmeasurable
from seqsuite.models.build import build_shaped
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import EvalSet, ModelIO, Task
from seqsuite.tasks.induction_heads import InductionHeads
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask


def build(model: str, task: Task, **settings: str) -> SequenceModel:
    keys = {
        "model.d_model": "16",
        "model.n_layer": "2",
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    config = resolve({"task": "selective_copying", "scale": "smoke", "model": model, **keys})
    torch.manual_seed(0)
    return build_shaped(config.model, shape_of(task.io)).double()


def scores(model: SequenceModel, task: Task) -> dict[str, float]:
    found = evaluate(
        model,
        task,
        "test",
        objective_for(task),
        batch_size=4,
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

"""Losses by position and by unit, against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.objectives import (
    CrossEntropy,
    Objective,
    SquaredError,
    objective_for,
    shape_of,
)
from seqsuite.models.config import ModelShape
from seqsuite.tasks.base import IGNORE, Batch, ModelIO, Task


def scores(objective: Objective, logits: torch.Tensor, batch: Batch) -> dict[str, float]:
    sums = objective.sums(logits, to_tensors(batch, torch.device("cpu")))
    return objective.scores({name: float(value) for name, value in sums.items()})


def test_loss_by_position_is_the_mean_of_targets_with_so_much_context():
    targets = np.zeros((2, 16), dtype=np.int64)
    targets[1, 5:] = IGNORE
    logits = torch.zeros(2, 16, 3)
    logits[:, :, 0] = torch.arange(16.0)
    by_hand = torch.nn.functional.cross_entropy(
        logits[0], torch.zeros(16, dtype=torch.long), reduction="none"
    )
    found = scores(CrossEntropy("token", by_position=True), logits, Batch(targets, targets))
    assert found["loss_by_position/1"] == pytest.approx(math.log(3))
    assert found["loss_by_position/4"] == pytest.approx(float(by_hand[1:4].mean()))
    expected = (float(by_hand[4:].sum()) + float(by_hand[4])) / 13
    assert found["loss_by_position/16"] == pytest.approx(expected)
    names = ("loss_by_position", "bits_per_token_by_position")
    assert {key for key in found if "position" in key} == {
        f"{name}/{n}" for name in names for n in (1, 4, 16)
    }
    assert found["bits_per_token_by_position/1"] == pytest.approx(math.log2(3))


def test_positions_start_afresh_in_each_packed_document():
    targets = np.zeros((1, 8), dtype=np.int64)
    logits = torch.zeros(1, 8, 2)
    logits[0, [0, 5], 0] = torch.tensor([3.0, 1.0])  # the first positions of both documents
    batch = Batch(targets, targets, cu_seqlens=np.array([0, 5, 8]))
    found = scores(CrossEntropy("token", by_position=True), logits, batch)
    first = (math.log1p(math.exp(-3)) + math.log1p(math.exp(-1))) / 2
    by_position = {key: value for key, value in found.items() if key.startswith("loss_by_position")}
    assert by_position == pytest.approx(
        {"loss_by_position/1": first, "loss_by_position/4": math.log(2), "loss_by_position/16": math.log(2)}
    )


def test_bits_a_byte_count_the_bytes_of_the_targets():
    targets = np.array([[1, 2, IGNORE]])
    units = torch.tensor([9.0, 1.0, 3.0])
    found = scores(CrossEntropy("byte", units), torch.zeros(1, 3, 3), Batch(targets, targets))
    assert found["bits_per_byte"] == pytest.approx(2 * math.log2(3) / 4)
    assert found["perplexity"] == pytest.approx(3)


def test_units_by_position_are_those_of_the_targets() -> None:
    targets = np.array([[0, 1, IGNORE, 0, IGNORE, IGNORE]])
    units = torch.tensor([2.0, 5.0])
    objective = CrossEntropy("byte", units, by_position=True)
    found = scores(objective, torch.zeros(1, 6, 2), Batch(targets, targets))
    assert found["bits_per_byte_by_position/1"] == pytest.approx(1 / 2)
    assert found["bits_per_byte_by_position/4"] == pytest.approx(2 / 7)
    assert found["loss_by_position/4"] == pytest.approx(math.log(2))
    assert not any(key.endswith("/16") for key in found)  # no target of that set has so much context


def test_scores_of_few_targets_and_of_none() -> None:
    objective = CrossEntropy("byte", torch.ones(3))
    one = {"loss": math.log(8), "correct": 1.0, "count": 1.0, "units": 1.0}
    assert objective.scores(one) == pytest.approx(
        {"loss": math.log(8), "bits_per_byte": 3.0, "accuracy": 100.0, "perplexity": 8.0}
    )
    none = objective.scores({"loss": 0.0, "correct": 0.0, "count": 0.0, "units": 0.0})
    assert none == {"loss": 0.0, "bits_per_byte": 0.0, "accuracy": 0.0, "perplexity": 1.0}
    of_sequences = CrossEntropy(None).scores({"loss": 3.0, "correct": 1.0, "count": 4.0})
    assert of_sequences == {"loss": 0.75, "accuracy": 25.0}
    assert [objective.scores(one | {"loss": loss})["perplexity"] for loss in (699.0, 700.0, 800.0)] == [
        pytest.approx(math.exp(699)),
        math.inf,
        math.inf,
    ]


def test_a_bucket_without_targets_has_no_mean() -> None:
    totals = {"loss": 6.0, "correct": 0.0, "count": 2.0}
    totals |= {"loss/1": 2.0, "count/1": 1.0, "units/1": 0.0, "loss/4": 0.0, "count/4": 0.0, "units/4": 0.0}
    totals |= {"loss/16": 4.0, "count/16": 1.0, "units/16": 2.0}
    found = CrossEntropy("byte").scores(totals)
    assert {key: value for key, value in found.items() if "position" in key} == {
        "loss_by_position/1": 2.0,
        "loss_by_position/16": 4.0,
        "bits_per_byte_by_position/16": pytest.approx(2 / math.log(2)),
    }


def test_errors_of_numbers_leave_out_those_that_are_none() -> None:
    targets = np.array([[[1.0], [np.nan], [-2.0]]])
    outputs = torch.tensor([[[4.0], [5.0], [1.0]]], dtype=torch.bfloat16)
    batch = Batch(targets, targets)
    assert scores(SquaredError(), outputs, batch) == {"loss": 9.0, "mse": 9.0, "mae": 3.0}
    one = SquaredError().scores({"loss": 3.0, "absolute": 2.0, "count": 1.0})
    assert one == {"loss": 3.0, "mse": 3.0, "mae": 2.0}


@pytest.mark.parametrize(
    ("length", "last"), [(1, 1), (2, 4), (4, 4), (5, 16), (16, 16), (17, 64), (64, 64), (65, 256)]
)
def test_buckets_end_at_the_power_of_four_that_has_the_last_position(length: int, last: int) -> None:
    targets = np.zeros((1, length), dtype=np.int64)
    batch = to_tensors(Batch(targets, targets), torch.device("cpu"))
    sums = CrossEntropy("token", by_position=True).sums(torch.zeros(1, length, 2), batch)
    edges = [edge for edge in (1, 4, 16, 64, 256) if edge <= last]
    assert [key for key in sums if key.startswith("count/")] == [f"count/{edge}" for edge in edges]


class Told(Task):
    """A task of which only what an objective asks for is there."""

    loss_by_position = True

    def __init__(self, io: ModelIO) -> None:
        super().__init__(seed=0)
        self.io = io

    def train_batch(self, rows):
        raise NotImplementedError

    def eval_sets(self, split):
        raise NotImplementedError

    def eval_batch(self, which, rows):
        raise NotImplementedError


def test_losses_by_position_are_detail_of_tasks_that_tell_them_and_carry_nothing() -> None:
    targets = np.zeros((1, 2), dtype=np.int64)
    batch = to_tensors(Batch(targets, targets), torch.device("cpu"))

    def tells(task: Task, detailed: bool) -> bool:
        return "loss/1" in objective_for(task, detailed=detailed).sums(torch.zeros(1, 2, 2), batch)

    task, carried, silent = (
        Told(ModelIO(2, vocab_size=2)),
        Told(ModelIO(2, vocab_size=2, lanes=1)),
        Told(ModelIO(2, vocab_size=2)),
    )
    silent.loss_by_position = False
    assert [tells(task, True), tells(task, False), tells(carried, True), tells(silent, True)] == [
        True,
        False,
        False,
        False,
    ]


def test_a_model_has_an_output_for_each_label_or_number_and_the_longest_length() -> None:
    assert shape_of(ModelIO(5, vocab_size=7, eval_seqlen=9, n_labels=3)) == ModelShape(
        seqlen=9, vocab_size=7, d_input=None, n_outputs=3, n_classes=None
    )
    assert shape_of(ModelIO(5, d_input=2, d_target=4, eval_seqlen=3)) == ModelShape(
        seqlen=5, vocab_size=None, d_input=2, n_outputs=4, n_classes=None
    )
    assert shape_of(ModelIO(5, vocab_size=7, n_classes=2)).n_classes == 2

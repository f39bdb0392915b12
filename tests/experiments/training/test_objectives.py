"""Losses by position and by unit, against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.objectives import CrossEntropy, Objective, SquaredError
from seqsuite.tasks.base import IGNORE, Batch


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
    logits[0, [0, 5], 0] = 3.0  # the first positions of both documents
    batch = Batch(targets, targets, cu_seqlens=np.array([0, 5, 8]))
    found = scores(CrossEntropy("token", by_position=True), logits, batch)
    assert found["loss_by_position/1"] == pytest.approx(math.log1p(math.exp(-3)))
    assert found["loss_by_position/4"] == pytest.approx(math.log(2))


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
    outputs = torch.tensor([[[2.0], [5.0], [1.0]]], dtype=torch.bfloat16)
    batch = Batch(targets, targets)
    assert scores(SquaredError(), outputs, batch) == {"loss": 5.0, "mse": 5.0, "mae": 2.0}
    one = SquaredError().scores({"loss": 3.0, "absolute": 2.0, "count": 1.0})
    assert one == {"loss": 3.0, "mse": 3.0, "mae": 2.0}

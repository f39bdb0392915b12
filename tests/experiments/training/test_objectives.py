"""Losses by position and by unit, against what can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.objectives import CrossEntropy
from seqsuite.tasks.base import IGNORE, Batch


def scores(objective: CrossEntropy, logits: torch.Tensor, batch: Batch) -> dict[str, float]:
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

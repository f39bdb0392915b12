"""The average of a model's weights, and what is carried of some rows, by hand."""

import torch
from torch import nn

from seqsuite.experiments.training.averaging import WeightAverage
from seqsuite.experiments.training.saved import joined, rows_of
from seqsuite.models.sequence_model import BackboneState


def test_an_average_keeps_its_share_of_the_old_and_takes_the_rest_of_the_new() -> None:
    model = nn.Linear(1, 1, bias=False)
    weight = model.weight
    nn.init.constant_(weight, 4.0)
    average = WeightAverage(model, 0.75)
    for value, expected in ((8.0, 5.0), (1.0, 4.0)):
        nn.init.constant_(weight, value)
        average.update()
        with average.in_place():
            assert weight.item() == expected
        assert weight.item() == value


def test_rows_that_were_joined_are_taken_apart_again() -> None:
    parts = [BackboneState(5, ({"h": torch.full((2, 3), number)},)) for number in (1.0, 2.0)]
    whole = joined([parts[0], None, parts[1]], lambda rows: rows)
    assert whole is not None
    assert whole["blocks"][0]["h"].tolist() == [[1.0] * 3, [1.0] * 3, [2.0] * 3, [2.0] * 3]
    cpu = torch.device("cpu")
    part = rows_of(whole, range(1, 3), cpu)
    assert part is not None
    assert (part.position, part.blocks[0]["h"].tolist()) == (5, [[1.0] * 3, [2.0] * 3])
    assert joined([None, None], lambda rows: rows) is rows_of(None, range(1), cpu) is None

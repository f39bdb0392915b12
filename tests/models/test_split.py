"""A part of sequences asks the other processes once a convolution and once a recurrence, whoever they are."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from seqsuite.models import MIXERS
from seqsuite.models.build import build_mixer
from seqsuite.models.split import kept_for_recomputation, split_over, split_peers
from seqsuite.options import named_options


class First:
    """The processes as the one with the first part sees them: nothing lies before it."""

    before = ()

    def __init__(self) -> None:
        self.asked = 0

    def earlier(self, *values: Tensor) -> list[tuple[Tensor, ...]]:
        self.asked += 1
        return [tuple(torch.zeros_like(value) for value in values)]

    def positions(self, x: Tensor, last: int | None = None) -> Tensor:
        self.asked += 1
        return x[:, :0]


@pytest.mark.parametrize("name", MIXERS.names())
def test_others_are_asked_once_for_what_lies_before(name: str) -> None:
    torch.manual_seed(0)
    mixer = build_mixer(named_options(MIXERS, {"name": name}), 16, 12).double()
    x, peers = torch.randn(2, 12, 16, dtype=torch.float64), First()
    assert mixer.splits
    with torch.no_grad():
        expected, _ = mixer(x)
        with split_over(peers):
            y, _ = mixer(x, mixer.initial_state(2, dtype=x.dtype))
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    assert peers.asked == (2 if name == "gated_delta" else 1)  # which has a convolution of its own


def test_what_is_computed_again_is_a_part_again() -> None:
    peers = First()
    with split_over(peers):
        first, again = kept_for_recomputation()
        with split_over(None):
            assert split_peers() is None
    assert split_peers() is None
    assert isinstance(first, nullcontext)
    with again:
        assert split_peers() is peers

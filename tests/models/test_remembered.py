"""What a position holds of those before it."""

import pytest
import torch

from seqsuite.models.base import Inspected
from seqsuite.models.remembered import remembered


def test_decays_are_multiplied_after_s_up_to_t() -> None:
    decay = torch.rand(1, 5, 2, 3)
    kind, groups, kept = remembered({"decay": Inspected(decay, ("batch", "position", "channel", "state"))})
    assert kind == "decay"
    assert len(groups) == len(kept) == 4
    order = decay[0].flatten(1).log().mean(0).argsort()
    slowest = decay[0].flatten(1)[:, order[-1]]
    assert kept[-1, 4, 1].item() == pytest.approx(slowest[2:].prod().item(), rel=1e-5)
    torch.testing.assert_close(kept.diagonal(dim1=1, dim2=2), torch.ones(4, 5))
    assert not kept.triu(1).any()


def test_a_kernel_is_read_at_its_lag() -> None:
    kernel = torch.tensor([[-4.0, 2.0, 1.0]])
    _, _, kept = remembered({"kernel": Inspected(kernel, ("channel", "lag"))})
    torch.testing.assert_close(kept[0], torch.tensor([[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]]))


def test_attention_is_shown_as_it_is_and_what_shows_nothing_is_left_out() -> None:
    weights = torch.rand(1, 2, 3, 3)
    kind, groups, kept = remembered({"weights": Inspected(weights, ("batch", "head", "query", "key"))})
    assert (kind, groups) == ("weights", ["head 1", "head 2"])
    torch.testing.assert_close(kept, weights[0])
    assert remembered({}) is None

"""What a position holds of those before it."""

import pytest
import torch

from seqsuite.models.base import Inspected
from seqsuite.models.remembered import by_time_constant, read_shares, remembered


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


def test_what_is_read_came_in_was_kept_and_is_looked_at() -> None:
    decay, fed, C = torch.rand(4, 2, 3), torch.randn(4, 2, 3), torch.randn(4, 3)
    state = [fed[0]]
    for t in range(1, 4):
        state.append(decay[t] * state[-1] + fed[t])
    by_channel = ("batch", "position", "channel", "state")
    decided = {
        "decay": Inspected(decay[None], by_channel),
        "state": Inspected(torch.stack(state)[None], by_channel),
        "C": Inspected(C[None], ("batch", "position", "state")),
    }
    read = read_shares(decided)
    assert read is not None
    expected = [(fed[s] * decay[s + 1 :].prod(0) * C[3]).sum(1).abs().sum() for s in range(4)]
    torch.testing.assert_close(read[3].float(), torch.stack(expected) / sum(expected))
    torch.testing.assert_close(read.sum(1), torch.ones(4).double())
    assert not read.triu(1).any()


def test_what_a_kernel_reads_is_weighed_by_the_input() -> None:
    kernel, x = torch.tensor([[4.0, -2.0, 1.0]]), torch.tensor([[[1.0], [0.0], [-3.0]]])
    decided = {
        "kernel": Inspected(kernel, ("channel", "lag")),
        "input": Inspected(x, ("batch", "position", "channel")),
    }
    read = read_shares(decided)
    assert read is not None
    torch.testing.assert_close(read[2], torch.tensor([1, 0, 12]).double() / 13)
    assert read_shares({"kernel": decided["kernel"]}) is None


def test_channels_are_ordered_by_what_they_forget() -> None:
    decay = torch.tensor([0.9, 0.1, 0.5]).expand(1, 4, 3)
    order = by_time_constant({"decay": Inspected(decay, ("batch", "position", "head"))})
    assert order is not None
    assert order.tolist() == [1, 2, 0]
    kernel = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    order = by_time_constant({"kernel": Inspected(kernel, ("channel", "lag"))})
    assert order is not None
    assert order.tolist() == [1, 0]
    assert by_time_constant({}) is None

"""Attention against the formula."""

import pytest
import torch

from seqsuite.models.mixers.attention import Attention, rotate


def test_forward_is_causal_softmax_attention():
    torch.manual_seed(0)
    layer = Attention(8, n_heads=2, positions="none").double()
    x = torch.randn(1, 7, 8).double()
    query, key, value = (x @ layer.qkv.weight.T).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[0, :, head] @ key[0, :, head].T / 2
        scores = scores.masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), -torch.inf)
        heads.append(scores.softmax(-1) @ value[0, :, head])
    expected = torch.cat(heads, dim=-1) @ layer.out_proj.weight.T
    torch.testing.assert_close(layer(x)[0][0], expected)


def test_rotation_makes_scores_depend_on_the_distance_only():
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def score(i: int, j: int) -> torch.Tensor:
        return (rotate(query, i, 10_000.0) * rotate(key, j, 10_000.0)).sum()

    torch.testing.assert_close(score(3, 1), score(103, 101))
    assert not torch.allclose(score(3, 1), score(3, 2))
    torch.testing.assert_close(score(5, 5), (query * key).sum())


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="divisible by n_heads into even parts, got 12 by 8"):
        Attention(12, n_heads=8)

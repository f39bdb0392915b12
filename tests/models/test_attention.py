"""Attention against the formula, one query at a time."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from seqsuite.models.mixers import attention
from seqsuite.models.mixers.attention import Attention
from seqsuite.models.mixers.positions import alibi_slopes, rotate, xpos_scale

OPTIONS = [
    {"positions": "none"},
    {"positions": "rotary"},
    {"positions": "rotary", "rotary_base": 100.0, "window": 3},
    {"positions": "xpos"},
    {"positions": "alibi"},
    {"positions": "alibi", "window": 4},
    {"positions": "none", "n_kv_heads": 2},
    {"positions": "rotary", "n_kv_heads": 1, "window": 2, "bias": True},
    {"positions": "none", "window": 1},
]


def turned(v: torch.Tensor, position: int, options: dict, sign: int) -> torch.Tensor:
    """Multiply the pairs of a query or key (P,) by e^{i θ t}, in xPos by ζ^{± t / 512} too."""
    if options["positions"] not in ("rotary", "xpos"):
        return v
    half = len(v) // 2
    theta = options.get("rotary_base", 10_000.0) ** (-torch.arange(half).double() / half)
    pairs = torch.complex(v[:half], v[half:]) * torch.exp(1j * theta * position)
    if options["positions"] == "xpos":
        pairs = pairs * ((torch.arange(half).double() / half + 0.4) / 1.4) ** (sign * position / 512)
    return torch.cat([pairs.real, pairs.imag])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_forward_is_causal_softmax_attention(options):
    torch.manual_seed(0)
    layer = Attention(16, n_heads=4, **options).double()
    x, kv_heads = torch.randn(1, 7, 16).double(), options.get("n_kv_heads", 4)
    query, key, value = layer.qkv(x)[0].split([16, 4 * kv_heads, 4 * kv_heads], dim=-1)
    query, key, value = query.view(7, 4, 4), key.view(7, kv_heads, 4), value.view(7, kv_heads, 4)
    rows = []
    for t in range(7):
        heads = []
        for head in range(4):
            shared, seen = head * kv_heads // 4, range(max(0, t + 1 - options.get("window", 7)), t + 1)
            q = turned(query[t, head], t, options, +1)
            scores = torch.stack([q @ turned(key[s, shared], s, options, -1) / 2 for s in seen])
            if options["positions"] == "alibi":
                scores = scores - torch.tensor([2.0 ** (-2 * (head + 1)) * (t - s) for s in seen])
            heads.append(scores.softmax(0) @ torch.stack([value[s, shared] for s in seen]))
        rows.append(torch.cat(heads))
    expected = layer.out_proj(torch.stack(rows))
    torch.testing.assert_close(layer(x)[0][0], expected)


def test_rotation_and_scaling_make_scores_depend_on_the_distance_only():
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def score(i: int, j: int, fade: bool) -> torch.Tensor:
        at_i, at_j = torch.tensor([[i]]), torch.tensor([[j]])
        q, k = rotate(query, at_i, 10_000.0), rotate(key, at_j, 10_000.0)
        return ((xpos_scale(q, at_i, 1) * xpos_scale(k, at_j, -1)) if fade else q * k).sum()

    for fade in (False, True):
        torch.testing.assert_close(score(3, 1, fade), score(103, 101, fade))
        assert not torch.allclose(score(3, 1, fade), score(3, 2, fade))
        torch.testing.assert_close(score(5, 5, fade), (query * key).sum())


def test_alibi_slopes_as_published():
    """The paper's example of eight heads; for twelve, as its authors' implementation has them."""
    assert alibi_slopes(8) == pytest.approx([2.0**-k for k in range(1, 9)])
    assert alibi_slopes(16)[:2] == pytest.approx([2**-0.5, 2**-1])
    assert alibi_slopes(12) == pytest.approx([*alibi_slopes(8), *alibi_slopes(16)[0:8:2]])


def test_a_window_bounds_the_cache():
    layer = Attention(8, n_heads=2, window=5)
    _, state = layer(torch.randn(3, 40, 8), layer.initial_state(3))
    assert state["key"].shape == (3, 4, 2, 4)
    assert state["position"].tolist() == [40, 40, 40]
    assert math.prod(layer(torch.randn(1, 40, 8), layer.initial_state(1))[1]["key"].shape) * 2 + 1 == (
        layer.state_size(40)
    )


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (64, 4)])
def test_heads_of_one_width_fill_any_model(width, heads):
    layer = Attention(width, head_dim=16)
    assert (layer.n_heads, layer.n_kv_heads, layer.head_dim) == (heads, heads, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 8}, "divisible by n_heads into even parts, got 12 by 8"),
        ({"n_heads": 4}, "divisible by n_heads into even parts, got 12 by 4"),
        ({"head_dim": 8}, "divisible by head_dim, got 12 by 8"),
        ({"head_dim": 3}, "divisible by n_heads into even parts, got 12 by 4"),
        ({"n_heads": 6, "n_kv_heads": 4}, "n_heads divisible by n_kv_heads, got 6 by 4"),
    ],
)
def test_heads_that_do_not_divide_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Attention(12, **options)


@pytest.mark.parametrize(
    "options", [{}, {"n_kv_heads": 2}, {"window": 3}, {"positions": "rotary"}, {"positions": "xpos"}]
)
def test_a_kernel_for_packed_sequences_is_given_what_it_asks_for(monkeypatch, options):
    """Against a stand-in that computes what the kernel's documentation says."""

    def stand_in(query, key, value, cu_q, cu_k, max_q, max_k, *, window_size):
        assert cu_q.dtype == cu_k.dtype == torch.int32
        assert max_q == max_k == int(cu_q.diff().max())
        before, after = window_size
        outputs = []
        for start, end in pairwise(cu_q.tolist()):
            q, k, v = (t[start:end].transpose(0, 1) for t in (query, key, value))
            places = torch.arange(end - start)
            distance = places[:, None] - places
            seen = (distance >= -after) & ((before < 0) | (distance <= before))
            outputs.append(F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(0, 1))
        return torch.cat(outputs)

    torch.manual_seed(0)
    mixer = attention.Attention(16, n_heads=4, **options).double()
    x, offsets = torch.randn(1, 11, 16, dtype=torch.float64), torch.tensor([0, 4, 5, 11])
    expected, _ = mixer(x, cu_seqlens=offsets)
    monkeypatch.setattr(attention, "has_packed_kernel", lambda query, positions: True)
    monkeypatch.setattr(attention, "varlen_attn", stand_in)
    torch.testing.assert_close(mixer(x, cu_seqlens=offsets)[0], expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_packed_attention_on_a_gpu_equals_the_sequences_alone():
    torch.manual_seed(0)
    mixer = attention.Attention(64, n_heads=4).to("cuda", torch.bfloat16)
    x, offsets = torch.randn(1, 300, 64).to("cuda", torch.bfloat16), [0, 7, 200, 300]
    packed, _ = mixer(x, cu_seqlens=torch.tensor(offsets))
    alone = torch.cat([mixer(x[:, a:b])[0] for a, b in pairwise(offsets)], dim=1)
    torch.testing.assert_close(packed, alone, atol=2e-2, rtol=2e-2)

"""What surrounds a mixer: each operation of a block written out around the mixer's own output."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seqsuite.models.base import Mixer
from seqsuite.models.blocks.h3 import H3Block
from seqsuite.models.blocks.mamba2 import Mamba2Block
from seqsuite.models.mixers.s4d import S4D
from seqsuite.models.mixers.ssd import SSD


def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def convolved(x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Σ_k filters[:, k] x_{t − K + 1 + k}."""
    taps = filters.shape[1]
    padded = F.pad(x, (0, 0, taps - 1, 0))
    return sum(filters[:, k] * padded[:, k : k + x.shape[1]] for k in range(taps))


def make_norm(width: int) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-5)


def test_mamba2_block_is_the_published_one():
    """One projection to z, x, B, C, Δ; convolution over x, B and C; SSD; RMSNorm of y · silu(z)."""
    torch.manual_seed(0)
    block = Mamba2Block(6, lambda width: SSD(width, d_state=5, head_dim=4), make_norm).double()
    with torch.no_grad():
        block.gated_norm.weight.uniform_(0.5, 1.5)
    x = torch.randn(2, 9, 6).double()
    projected = rms(x, block.norm.weight) @ block.in_proj.weight.T
    z, u, B, C, dt = projected.split([12, 12, 5, 5, 3], dim=-1)
    mixed = F.silu(convolved(torch.cat([u, B, C], dim=-1), block.conv_weight) + block.conv_bias)
    u, B, C = mixed.split([12, 5, 5], dim=-1)
    y = block.mixer(u, controls=(torch.cat([B, C], dim=-1), dt))[0]
    y = rms(y * F.silu(z), block.gated_norm.weight) @ block.out_proj.weight.T
    torch.testing.assert_close(block(x)[0], x + y)


def test_a_mixer_without_its_projection_asks_for_controls():
    block = Mamba2Block(6, lambda width: SSD(width, d_state=5, head_dim=4), make_norm)
    with pytest.raises(ValueError, match="controls are projected by its block"):
        block.mixer(torch.zeros(1, 2, 12))


@pytest.mark.parametrize("convolved_parts", ["key", "all"])
@pytest.mark.parametrize("mlp", ["gelu", None])
def test_h3_block_is_the_mixer_between_two_gates(convolved_parts, mlp):
    torch.manual_seed(0)
    make_mixer = lambda width: S4D(width, d_state=4)  # noqa: E731
    block = H3Block(6, make_mixer, make_norm, d_shift=3, convolved=convolved_parts, mlp=mlp).double()
    x = torch.randn(2, 9, 6).double()
    query, key, value = (rms(x, block.norm.weight) @ block.qkv.weight.T).split(6, dim=-1)
    if convolved_parts == "all":
        query, key, value = convolved(torch.cat([query, key, value], dim=-1), block.shift.weight).split(
            6, dim=-1
        )
    else:
        key = convolved(key, block.shift.weight)
    expected = x + (query * block.mixer(key * value)[0]) @ block.out_proj.weight.T
    if mlp:
        hidden = F.gelu(rms(expected, block.mlp_norm.weight) @ block.mlp.up_proj.weight.T)
        expected = expected + hidden @ block.mlp.down_proj.weight.T
    torch.testing.assert_close(block(x)[0], expected)
    assert block.residual_branches == (2 if mlp else 1)
    assert len(block.residual_outputs()) == block.residual_branches
    assert isinstance(block.mixer, Mixer)

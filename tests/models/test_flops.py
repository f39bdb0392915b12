"""What a model computes, against counts by hand and PyTorch's own counter."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seqsuite import build
from seqsuite.models import MIXERS
from seqsuite.models.flops import long_convolution_flops, training_flops


def mixer_flops(name: str, seqlen: int, d_model: int = 64, **options: object) -> int:
    kind = MIXERS.load(name)
    sized = {"seqlen": 128} if name == "hyena" else {}
    return kind(d_model, **sized, **options).flops(seqlen)


def test_a_transformer_computes_what_pytorch_counts() -> None:
    """PyTorch counts all scores of attention and not the causal half, and no norms."""
    length, layers, width = 64, 2, 32
    model = build("transformer", vocab_size=50, d_model=width, n_layer=layers, mixer={"n_heads": 4})
    tokens = torch.zeros(1, length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(tokens).sum().backward()
    whole, causal = 2 * length * length * width, length * (length + 1) * width
    norms = sum(weight.numel() for weight in model.parameters() if weight.dim() == 1)
    ours = training_flops(model, length) - 6 * length * norms
    assert ours == pytest.approx(counter.get_total_flops() - 6 * layers * (whole - causal), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("attention", {"n_heads": 4}, 100 * 101 * 64),
        ("attention", {"n_heads": 4, "window": 1}, 2 * 100 * 64),
        ("s6", {"d_state": 16}, 100 * 64 * 65),
        ("s6", {"d_state": 16, "A_init": "lin"}, 100 * 64 * 129),
        ("ssd", {"d_state": 16, "head_dim": 32}, 100 * 64 * 49),
        ("gated_delta", {"n_heads": 4, "value_expand": 2}, 4 * 100 * 4 * 16 * 32),
        ("retention", {"n_heads": 4, "value_expand": 2}, 3 * 100 * 4 * 16 * 32),
        ("linear_attention", {"n_heads": 4}, 2 * 100 * 4 * 16 * 17),
        ("shift", {}, 0),
    ],
)
def test_mixers_count_what_their_weights_do_not(name: str, options: dict[str, object], expected: int) -> None:
    assert mixer_flops(name, 100, **options) == expected


@pytest.mark.parametrize("name", ["s4", "s4d", "hyena"])
def test_long_convolutions_count_fourier_transforms(name: str) -> None:
    per_channel = mixer_flops(name, 1024) / 64
    assert per_channel == pytest.approx(2 * 1.25 * 2048 * math.log2(2048) + 2 * 2048)
    assert mixer_flops(name, 1024) == long_convolution_flops(64, 1024)


def test_weights_count_six_a_position_and_tables_nothing() -> None:
    model = build("mamba", vocab_size=50, d_model=16, n_layer=1, mixer={"name": "shift"})
    assert training_flops(model, 10) == 60 * model.num_parameters()  # the head is the table
    model.head.weight = torch.nn.Parameter(model.head.weight.detach().clone())
    assert training_flops(model, 10) == 60 * (model.num_parameters() - 50 * 16)


def test_frames_of_a_unet_are_fewer_than_positions() -> None:
    backbone = {"name": "unet", "stages": 1, "pool": 4, "expand": 1}
    plain = build("mamba", vocab_size=5, d_model=16, n_layer=3, mixer={"name": "shift"})
    unet = build("mamba", vocab_size=5, d_model=16, n_layer=1, mixer={"name": "shift"}, backbone=backbone)
    frames = 2 * 16 * 4 * 16 + 16 + 4 * 16
    block = (plain.num_parameters() - 5 * 16 - 16) // 3
    expected = 40 * (2 * block + 5 * 16 + 16) + 10 * (block + frames)
    assert training_flops(unet, 40) == 6 * expected

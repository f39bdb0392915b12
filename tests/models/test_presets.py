"""The named sizes have the parameter counts that the papers give."""

import pytest

from seqsuite.errors import UserError
from seqsuite.models import MODELS
from seqsuite.models.build import count_parameters
from seqsuite.models.config import ModelConfig, ModelShape
from seqsuite.models.presets import size_settings

# state-spaces/mamba-* on the Hugging Face hub: GPT-NeoX's 50 277 tokens, padded to a multiple of 8, tied.
PUBLISHED_MAMBA = {
    "130m": 129_135_360,
    "370m": 371_516_416,
    "790m": 793_204_224,
    "1.4b": 1_372_178_432,
    "2.8b": 2_768_345_600,
}
GPT2_VOCABULARY = 50_257
DNA_VOCABULARY = 12
SCALES = {"k": 1e3, "m": 1e6, "b": 1e9}


def count(model: str, size: str, vocab_size: int, seqlen: int = 2048, **settings: object) -> int:
    values = {**MODELS.load(model)(), **settings}
    for key, value in size_settings(model, size).items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    return count_parameters(
        ModelConfig(name=model, **values), ModelShape(vocab_size=vocab_size, seqlen=seqlen)
    )


def labelled(size: str) -> float:
    return float(size[:-1]) * SCALES[size[-1]]


@pytest.mark.parametrize("size", PUBLISHED_MAMBA)
def test_mamba_has_exactly_the_published_counts(size):
    assert count("mamba", size, 50_280) == PUBLISHED_MAMBA[size]


@pytest.mark.parametrize("size", ["125m", "350m", "760m", "1.3b"])
@pytest.mark.parametrize("model", ["transformer", "transformer++"])
def test_language_model_sizes_are_within_two_percent_of_their_names(model, size):
    assert count(model, size, GPT2_VOCABULARY) == pytest.approx(labelled(size), rel=0.02)


@pytest.mark.parametrize("size", ["1.4m", "3.5m", "7.0m", "19.3m", "40.7m"])
def test_dna_sizes_are_within_two_percent_of_their_names(size):
    assert count("mamba", size, DNA_VOCABULARY) == pytest.approx(labelled(size), rel=0.02)


@pytest.mark.parametrize("model", ["h3", "hyena"])
def test_the_smallest_dna_name_is_the_count_of_its_peers(model):
    assert count(model, "250k", DNA_VOCABULARY) == pytest.approx(250e3, rel=0.02)


@pytest.mark.parametrize(("size", "expected"), [("250k", 262_464), ("700k", 683_808)])
def test_mambas_smallest_dna_counts_are_those_of_the_papers_blocks_and_widths(size, expected):
    """The names are rounder than 2 %: 8 blocks of width 64 and 10 of width 96 give these counts."""
    assert count("mamba", size, DNA_VOCABULARY) == expected
    assert expected == pytest.approx(labelled(size), rel=0.05)


def test_mamba2_is_its_blocks_written_out():
    """Projection to z, x, B, C, Δ; convolution; Δ bias, A, D a head; gated norm; out-projection; norm."""
    D, E, N, H, K, V = 768, 1536, 128, 24, 4, 50_288
    block = D * (2 * E + 2 * N + H) + (E + 2 * N) * (K + 1) + 3 * H + E + E * D + D
    assert count("mamba2", "130m", V) == V * D + 24 * block + D


def test_audio_model_has_the_papers_size():
    """Piano audio: width 64, pooling 16, three blocks a stage, five stages: 3.5 M parameters."""
    settings = {"d_model": 64, "n_layer": 3, "backbone": {"name": "unet"}}
    config = ModelConfig(name="mamba", **{**MODELS.load("mamba")(), **settings})
    assert count_parameters(config, ModelShape(vocab_size=256, seqlen=8192)) == pytest.approx(3.5e6, rel=0.02)


def test_sizes_that_do_not_exist_are_named():
    with pytest.raises(UserError, match="'hybrid' has no size '130m': set model"):
        size_settings("hybrid", "130m")

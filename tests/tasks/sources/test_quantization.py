"""What tokens of waves are: what goes in comes out, and silence stays silence."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.tasks.codecs.audio import AudioCodec
from seqsuite.tasks.sources.quantization import Quantization

NAMES = ("mu-law", "linear8", "linear16")
STEP = {"mu-law": 0.022, "linear8": 1 / 256, "linear16": 1 / 65_536}
"""Half the widest step between two values."""


@pytest.mark.parametrize("name", NAMES)
def test_a_wave_comes_back_to_half_a_step(name: str) -> None:
    quantization = Quantization(name)
    wave = np.linspace(-1, 1 - 2 * STEP[name], 4001, dtype=np.float32)
    tokens = quantization.encode(wave)
    assert len(tokens) == quantization.tokens_per_sample * len(wave)
    assert tokens.max() < quantization.vocab_size
    assert np.abs(quantization.decode(tokens) - wave).max() <= STEP[name] * 1.001
    np.testing.assert_array_equal(quantization.encode(quantization.decode(tokens)), tokens)


@pytest.mark.parametrize(
    ("name", "silence"), [("mu-law", [128]), ("linear8", [128]), ("linear16", [128, 256])]
)
def test_silence_is_the_same_everywhere_and_what_is_too_loud_is_clipped(
    name: str, silence: list[int]
) -> None:
    quantization = Quantization(name)
    assert quantization.encode(np.zeros(1, np.float32)).tolist() == silence
    loud = quantization.decode(quantization.encode(np.array([-9, 9], np.float32)))
    np.testing.assert_allclose(loud, [-1, 1], atol=2.1 * STEP[name])


def test_sixteen_bits_are_the_bits_of_a_file(tmp_path) -> None:
    import soundfile

    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 5000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    codec = AudioCodec(Quantization("linear16"))
    tokens = codec.read(tmp_path / "a.wav")
    upper, lower = tokens[::2], tokens[1::2]
    np.testing.assert_array_equal((upper << 8) + lower - 256 - 2**15, samples)
    codec.write(tokens, tmp_path / "b.wav")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], samples)


@given(st.lists(st.integers(0, 511), max_size=40))
def test_any_tokens_of_sixteen_bits_mean_something(tokens: list[int]) -> None:
    wave = Quantization("linear16").decode(tokens)
    pairs = sum(a < 256 <= b for a, b in pairwise(tokens))
    assert len(wave) == pairs
    assert np.abs(wave).max(initial=0) <= 1


@pytest.mark.parametrize("tokens", [[], [128], [128, 0, 255], list(range(256)) * 30])
def test_there_is_a_picture_of_any_length(tmp_path, tokens: list[int]) -> None:
    assert AudioCodec().draw(tokens, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_each_token_is_of_a_sample() -> None:
    wave = np.array([0.5, -0.25], np.float32)
    for name in NAMES:
        codec = AudioCodec(Quantization(name))
        tokens = Quantization(name).encode(wave).astype(np.int64)
        of_each = codec.sample_of_each(tokens)
        assert len(of_each) == len(tokens) == 2 * codec.tokens_per_second // 16_000
        np.testing.assert_allclose(of_each, np.repeat(wave, len(tokens) // 2), atol=0.02)
    assert codec.sample_of_each(tokens[:3]).tolist() == [0.5, 0.5, 0.0]

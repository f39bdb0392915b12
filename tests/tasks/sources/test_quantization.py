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


def test_levels_are_steps_of_the_full_scale() -> None:
    wave = np.array([-1, -0.5, -1 / 128, 0, 0.4 / 128, 0.6 / 128, 0.5, 127 / 128, 1], np.float32)
    eight = [0, 64, 127, 128, 128, 129, 192, 255, 255]
    assert Quantization("linear8").encode(wave).tolist() == eight
    assert Quantization("linear8").decode([0, 64, 128, 255]).tolist() == [-1, -0.5, 0, 127 / 128]
    sixteen = Quantization("linear16").encode(wave[[0, 1, 3, 4, 8]]).tolist()
    assert sixteen == [0, 256, 64, 256, 128, 256, 128, 256 + 102, 255, 511]
    decoded = Quantization("linear16").decode([0, 256, 64, 257, 128, 256, 255, 511])
    assert decoded.tolist() == [-1, -0.5 + 2**-15, 0, 1 - 2**-15]
    of_pairs = Quantization("linear16").decode([256, 1, 2, 300, 301, 128])
    assert of_pairs.tolist() == [(2 * 256 + 44) / 2**15 - 1]
    for alone in (255, 257):
        assert Quantization("linear16").decode([alone]).tolist() == []


def test_mu_law_is_the_curve_of_255() -> None:
    wave = np.array([-2, -1, -0.1, 0, 0.01, 0.1, 1, 2], np.float32)
    inside = np.clip(wave.astype(np.float64), -1, 1)
    curve = np.sign(inside) * np.log(1 + 255 * np.abs(inside)) / np.log(256)
    assert Quantization("mu-law").encode(wave).tolist() == np.floor((curve + 1) / 2 * 255 + 0.5).tolist()
    codes = np.arange(256)
    height = codes / 255 * 2 - 1
    expected = np.sign(height) * (256 ** np.abs(height) - 1) / 255
    np.testing.assert_allclose(Quantization("mu-law").decode(codes), expected, atol=1e-6)


def test_vocabularies_are_a_byte_or_two_for_a_sample() -> None:
    sizes = {name: (Quantization(name).vocab_size, Quantization(name).tokens_per_sample) for name in NAMES}
    assert sizes == {"mu-law": (256, 1), "linear8": (256, 1), "linear16": (512, 2)}

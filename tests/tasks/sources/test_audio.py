import io
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqsuite.errors import UserError
from seqsuite.tasks.piano import Piano
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import find


def tone(seconds: float, rate: int, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def content(kind: str, rate: int = 16_000) -> bytearray:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1, rate), rate, format=kind)
    return bytearray(buffer.getvalue())


def save(folder: Path, name: str, data: bytes | bytearray) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("claimed", [0, 8_000, 32_000, 2**36 - 1])
def test_flac_is_read_to_its_end_whatever_length_it_claims(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, claimed: int
) -> None:
    data = content("FLAC")
    expected = audio.read_audio(save(tmp_path, "whole.flac", data))
    total = int.from_bytes(data[18:26], "big") >> 36 << 36 | claimed
    data[18:26] = total.to_bytes(8, "big")
    np.testing.assert_array_equal(audio.read_audio(save(tmp_path, "claims.flac", data)), expected)
    assert ("16000 of the" in caplog.text) == (claimed > 16_000)


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF])
def test_wav_of_unknown_size_is_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, claimed: int
) -> None:
    data = content("WAV")
    expected = audio.read_audio(save(tmp_path, "whole.wav", data))
    data[4:8] = data[40:44] = claimed.to_bytes(4, "little")
    np.testing.assert_array_equal(audio.read_audio(save(tmp_path, "piped.wav", data)), expected)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("WAV", "bytes that its header claims"),
        ("AIFF", "bytes that its header claims"),
        ("MP3", "samples that its header claims"),
        ("OGG", "last page"),
        ("FLAC", "samples that its header claims"),
    ],
)
def test_half_a_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, said: str) -> None:
    whole = tmp_path / f"whole.{kind.lower()}"
    soundfile.write(whole, np.random.default_rng(0).normal(scale=0.1, size=160_000), 16_000, format=kind)
    data = whole.read_bytes()
    assert 159_000 < len(audio.read_audio(whole)) < 163_000
    assert caplog.text == ""
    half = save(tmp_path, f"half.{kind.lower()}", data[: len(data) // 2])
    assert 40_000 < len(audio.read_audio(half)) < 90_000
    assert "is cut short" in caplog.text
    assert said in caplog.text


def test_a_size_of_many_megabytes_is_read_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = content("AIFF")
    data[4] = 1  # of a size in four bytes, the largest first: 16 MiB more than there are
    audio.read_audio(save(tmp_path, "a.aiff", data))
    assert "bytes that its header claims" in caplog.text


@pytest.mark.parametrize("rate", [0, 7, 2_147_483_647])
def test_a_rate_that_nothing_has_is_refused(tmp_path: Path, rate: int) -> None:
    data = content("WAV")
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(UserError, match=r"samples a second|cannot be read as audio"):
        audio.read_audio(save(tmp_path, "a.wav", data))


@pytest.mark.parametrize("rate", [11_025, 16_001, 44_101, 999_983])
def test_any_rate_costs_little_and_keeps_the_pitch(tmp_path: Path, rate: int) -> None:
    file = save(tmp_path, "a.wav", content("WAV", rate=rate))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    codes = audio.read_audio(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert abs(len(codes) - 16_000) <= 1
    wave = audio.decode(codes)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert np.abs(wave[1000:-1000]).max() == pytest.approx(0.5, rel=0.05)


def test_channels_in_opposite_phase_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = tone(0.5, 16_000)
    soundfile.write(tmp_path / "same.wav", np.stack([left, left], axis=1), 16_000)
    audio.read_audio(tmp_path / "same.wav")
    assert caplog.text == ""
    soundfile.write(tmp_path / "opposite.wav", np.stack([left, -left], axis=1), 16_000)
    audio.read_audio(tmp_path / "opposite.wav")
    assert "opposite phase" in caplog.text


def test_silence_has_no_phase(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros((1000, 2)), 16_000)
    assert set(audio.read_audio(tmp_path / "silent.wav")) == {128}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.aiff", {"format": "AIFF"}),
        ("a.au", {"format": "AU"}),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
        ("a.caf", {"format": "CAF"}),
    ],
)
def test_more_formats_are_read(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    soundfile.write(tmp_path / name, tone(1, 16_000), 16_000, **options)
    assert name.endswith(audio.SUFFIXES)
    assert abs(len(audio.read_audio(tmp_path / name)) - 16_000) < 500


FFMPEG = """#!{python}
# Stands in for ffmpeg: checks how it is called, and writes what a real one would.
import sys, numpy, soundfile
source, target = sys.argv[sys.argv.index("-i") + 1], sys.argv[-1]
assert source.startswith("file:/") and "-nostdin" in sys.argv
if open(source[5:], "rb").read() != b"m4a":
    sys.exit("Invalid data found when processing input")
soundfile.write(target, numpy.zeros((1000, 2)), 16_000)
"""


def test_m4a_is_read_by_ffmpeg_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path, "a.m4a", b"m4a")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UserError, match="needs ffmpeg"):
        audio.read_audio(file)
    (tmp_path / "bin").mkdir()
    program = save(tmp_path / "bin", "ffmpeg", FFMPEG.format(python=sys.executable).encode())
    program.chmod(0o755)
    assert len(audio.read_audio(file)) == 1000
    with pytest.raises(UserError, match="Invalid data found"):
        audio.read_audio(save(tmp_path, "b.m4a", b"no"))


def test_a_folder_that_only_ffmpeg_reads_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "SUFFIXES", audio.SOUND_SUFFIXES)
    monkeypatch.setattr(audio, "NEEDS", dict.fromkeys(audio.FFMPEG_SUFFIXES, "ffmpeg"))
    for name in ("a.m4a", "b.M4A", "cover.png"):
        save(tmp_path, name, b"m4a")
    with pytest.raises(UserError, match=r"no audio files.*Left out: 2 \.m4a \(needs ffmpeg\), 1 \.png\."):
        Piano(seed=0, path=tmp_path)
    soundfile.write(tmp_path / "c.wav", tone(1, 16_000), 16_000)
    found = find(tmp_path, audio.SUFFIXES, "audio", audio.NEEDS)
    assert found.summary() == "1 file read, 3 left out: 2 .m4a (needs ffmpeg), 1 .png"


def test_an_audio_bomb_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(2_000_000), 16_000)
    monkeypatch.setattr(audio, "ALWAYS_READ", 1_000)
    monkeypatch.setattr(audio, "MAX_EXPANSION", 10)
    with pytest.raises(UserError, match="left alone"):
        audio.read_audio(tmp_path / "a.flac")


def test_bounds_of_recordings() -> None:
    assert (audio.SAMPLE_RATE, audio.ALWAYS_READ) == (16_000, 2**30)
    assert (min(audio.RATES), max(audio.RATES)) == (100, 1_000_000)


def test_waves_are_written_as_16_bits(tmp_path: Path) -> None:
    wave = np.array([-2, -1, -0.5, 0, 0.4 / 2**15, 0.6 / 2**15, 0.5, 1, 2], np.float32)
    audio.write_wav(wave, tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16", always_2d=True)
    assert rate == 16_000
    assert samples[:, 0].tolist() == [-32_768, -32_768, -16_384, 0, 0, 1, 16_384, 32_767, 32_767]
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"


def test_channels_are_mixed_evenly() -> None:
    wave = np.array([[1, 0], [0.5, -0.5], [0, 0.5]], np.float32)
    assert audio.to_mono_16k(wave, 16_000).tolist() == [0.5, 0, 0.25]
    assert audio.to_mono_16k(np.zeros((800, 2), np.float32), 8_000).shape == (1_600,)
    assert audio.resample(np.zeros((800, 3), np.float32), 8_000, 4_000).shape == (400, 3)


def test_a_recording_expands_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(5_000), 16_000)
    monkeypatch.setattr(audio, "MAX_EXPANSION", 0)
    monkeypatch.setattr(audio, "ALWAYS_READ", 5_000)
    assert len(audio.read_audio(tmp_path / "a.flac")) == 5_000
    monkeypatch.setattr(audio, "ALWAYS_READ", 4_999)
    with pytest.raises(UserError, match=r"left alone: it expands to over 5000 samples\."):
        audio.read_audio(tmp_path / "a.flac")


def test_a_recording_is_not_empty_and_has_numbers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(UserError, match="has zero length"):
        audio.read_audio(tmp_path / "empty.wav")
    wave = np.zeros((5_000, 2), np.float32)
    wave[4_999, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match="samples that are not finite numbers"):
        audio.read_audio(tmp_path / "nan.wav")


@pytest.mark.parametrize(("other", "told"), [(0.82, True), (0.81, False)])
def test_channels_cancel_below_a_hundredth_of_their_power(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: float, told: bool
) -> None:
    """Of 1 and -q the mix has (1 - q)² / 4 of power and the channels (1 + q²) / 2: a hundredth at 0.817."""
    left = tone(1, 16_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -other * left], axis=1), 16_000, subtype="FLOAT")
    audio.read_audio(tmp_path / "a.wav")
    assert ("opposite phase" in caplog.text) == told

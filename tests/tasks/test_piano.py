import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqsuite.errors import UserError
from seqsuite.tasks.piano import Piano
from seqsuite.tasks.prepare import recordings
from seqsuite.tasks.sources import audio, rendered_piano

from .music import piece


def tone(seconds: float, rate: int, amplitude: float = 0.5, pitch: float = 440.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def strongest_pitch(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.fft.rfftfreq(len(wave), 1 / audio.SAMPLE_RATE)[spectrum.argmax()])


@pytest.fixture
def one_piece(monkeypatch, tmp_path: Path) -> Path:
    """A recipe of one short piece, and an empty cache."""
    pieces = {"train": ("mozart/k545/movement1_exposition.mxl",), "validation": (), "test": ()}
    monkeypatch.setattr(rendered_piano, "PIECES", pieces)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_silence_is_128_and_loudness_is_kept():
    assert set(audio.encode(np.zeros(10, np.float32))) == {128}
    assert audio.encode(np.array([-2, -1, 1, 2], np.float32)).tolist() == [0, 0, 255, 255]
    soft, loud = (audio.decode(audio.encode(tone(0.1, 16_000, a))) for a in (0.1, 0.8))
    assert np.abs(soft).max() == pytest.approx(0.1, rel=0.03)
    assert np.abs(loud).max() == pytest.approx(0.8, rel=0.03)


@pytest.mark.parametrize(
    ("suffix", "rate"), [(".wav", 44_100), (".flac", 8_000), (".ogg", 48_000), (".mp3", 44_100)]
)
def test_files_of_any_rate_and_format_become_16_khz_mono(tmp_path: Path, suffix: str, rate: int):
    stereo = np.stack([tone(1, rate), tone(1, rate, amplitude=0.3)], axis=1)
    soundfile.write(tmp_path / f"a{suffix}", stereo, rate)
    task = Piano(seed=0, seqlen=64, path=tmp_path)
    codes = np.concatenate([task.streams[split][0] for split in ("train", "validation", "test")])
    assert abs(len(codes) - 16_000) < 2_000  # MP3 pads
    wave = audio.decode(codes)[2_000:14_000]
    assert strongest_pitch(wave) == pytest.approx(440, abs=2)
    assert np.abs(wave).max() == pytest.approx(0.4, rel=0.1)


def test_batches_are_samples_and_the_next_ones(rows, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    task = Piano(seed=0, seqlen=100, path=tmp_path / "a.wav")
    for split in ("train", "validation"):
        inputs, targets, *_ = rows(task, split, 0, 3)
        assert inputs.shape == (3, 100)
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    assert task.metrics[0].name == "bits_per_sample"


def test_render_and_decode(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    task = Piano(seed=0, seqlen=100, path=tmp_path / "a.wav")
    codes = audio.encode(tone(0.5, 16_000))
    task.codec.write(codes.tolist(), tmp_path / "sample.wav")
    info = soundfile.info(tmp_path / "sample.wav")
    assert (info.samplerate, info.channels, info.frames, info.format) == (16_000, 1, 8_000, "WAV")
    assert strongest_pitch(soundfile.read(tmp_path / "sample.wav")[0]) == pytest.approx(440, abs=2)
    assert task.codec.decode(codes).startswith("0.50 s, peak 0.5")
    assert task.codec.decode([]) == "0.00 s"


def test_a_rendered_piece_is_in_tune_and_kept(one_piece: Path):
    (file,) = rendered_piano.rendered_pieces()["train"]
    assert one_piece in file.parents
    wave, rate = soundfile.read(file)
    assert rate == audio.SAMPLE_RATE
    assert 20 < len(wave) / rate < 24
    assert 0.05 < np.abs(wave).max() < 1
    # The sonata opens on a chord of C major: C4, E4, G4, C5.
    heard = strongest_pitch(wave[:8_000])
    assert min(abs(heard - pitch) for pitch in (261.63, 329.63, 392.00, 523.25)) < 2

    written = file.stat().st_mtime_ns
    assert rendered_piano.rendered_pieces()["train"] == [file]
    assert file.stat().st_mtime_ns == written


def test_parallel_starts_render_once(one_piece: Path, caplog):
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: rendered_piano.rendered_pieces(), range(2))
    assert first == second
    assert sum("Rendering" in record.message for record in caplog.records) == 1
    assert not list(one_piece.rglob("*.partial"))


def test_an_interrupted_rendering_is_not_taken_for_a_whole_one(one_piece: Path, monkeypatch):
    import midirenderer

    def interrupt(*_: bytes) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(midirenderer, "render_wave_from", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rendered_piano.rendered_pieces()
    (file,) = rendered_piano.rendered_pieces()["train"]
    assert soundfile.info(file).frames > 0


def test_a_cache_that_cannot_be_written_is_one_sentence(monkeypatch, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be kept in .* XDG_CACHE_HOME"):
        rendered_piano.rendered_pieces()


def test_default_pieces_are_held_out_whole():
    task = Piano(seed=0)
    assert [len(parts) for parts in task.streams.values()] == [6, 1, 1]
    seconds = sum(len(part) for parts in task.streams.values() for part in parts) / audio.SAMPLE_RATE
    assert 480 < seconds < 540
    task_ = task
    first, *_ = task_.baselines(task_.eval_sets("validation")[0])
    name, bits = first.name, first.value
    assert name == "unigram"
    assert 6 < bits < 8
    assert len(task.prompt()) == 1024


def test_bad_audio_is_one_sentence(tmp_path: Path):
    with pytest.raises(UserError, match=r"no audio files: they should end in \.wav, \.flac, \.ogg, \.mp3"):
        Piano(seed=0, path=tmp_path)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16_000)
    with pytest.raises(UserError, match="zero length"):
        Piano(seed=0, path=tmp_path).describe()
    soundfile.write(tmp_path / "nan.wav", np.full(10, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match="not finite numbers"):
        Piano(seed=0, path=tmp_path / "nan.wav").describe()
    (tmp_path / "notes.txt").write_text("do re mi")
    with pytest.raises(UserError, match="cannot be read as audio"):
        Piano(seed=0, path=tmp_path / "notes.txt").describe()
    soundfile.write(tmp_path / "short.wav", tone(0.01, 16_000), 16_000)
    with pytest.raises(UserError, match=r"seqlen=1024 is too long.* 128 samples"):
        Piano(seed=0, path=tmp_path / "short.wav").describe()


def test_sixteen_bits_are_two_tokens_and_half_a_sample_each(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", piece(0, 2), 16_000)
    task = Piano(seed=0, seqlen=100, path=tmp_path, quantization="linear16")
    assert task.io.vocab_size == 512
    assert sum(len(part) for parts in task.streams.values() for part in parts) == 2 * 32_000
    batch = task.eval_batch(task.eval_sets("test")[0], range(2))
    assert ((batch.inputs[0] < 256) == (np.arange(100) % 2 == 0)).all()
    assert task.token_units.tolist() == [0.5] * 512
    coarse = Piano(seed=0, seqlen=100, path=tmp_path, quantization="linear8")
    unigram, unigram8 = (each.baselines(each.eval_sets("test")[0])[0].value for each in (task, coarse))
    assert unigram8 < 8 < unigram < 18  # bits a sample: two bytes of sixteen
    assert len(task.prompt()) == 100
    with pytest.raises(UserError, match=r"task\.splits is of the recordings at task\.path"):
        Piano(seed=0, splits="maestro")


def test_whole_files_are_held_out_and_a_copied_one_is_refused(tmp_path: Path):
    for number in range(10):
        soundfile.write(tmp_path / f"{number}.wav", piece(number, 1.5), 16_000)
    task = Piano(seed=0, seqlen=64, path=tmp_path)
    assert [len(parts) for parts in task.streams.values()] == [8, 1, 1]
    (tmp_path / "9.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    with pytest.raises(UserError, match=r"same content in two splits: .*0\.wav \(train\) is .*9\.wav"):
        Piano(seed=0, seqlen=64, path=tmp_path).describe()


def test_a_passage_in_two_splits_is_named(tmp_path: Path, caplog):
    for number in range(10):
        made = piece(number, 12)
        if number == 9:
            made[40_000:] = 0.8 * piece(3, 12)[: len(made) - 40_000]
        soundfile.write(tmp_path / f"{number}.wav", made, 16_000)
    Piano(seed=0, seqlen=64, path=tmp_path).describe()
    assert "two splits, and make held-out scores too good; 1 of them" in caplog.text
    assert "3.wav" in caplog.text
    assert "9.wav" in caplog.text


def test_large_sets_are_read_once_and_mapped(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    for number in range(10):
        soundfile.write(tmp_path / "in" / f"{number}.wav", piece(number, 1.5), 16_000)
    small = Piano(seed=0, seqlen=64, path=tmp_path / "in")
    expected = small.fingerprint()
    monkeypatch.setattr(recordings, "LARGE", 1_000)
    assert Piano(seed=0, seqlen=64, path=tmp_path / "in").fingerprint() == expected
    monkeypatch.setattr(audio, "read_audio", lambda *_: pytest.fail("read again"))
    mapped = Piano(seed=0, seqlen=64, path=tmp_path / "in")
    assert mapped.fingerprint() == expected
    assert isinstance(mapped.streams["train"][0], np.memmap)


def test_one_bad_file_is_refused_or_left_out(tmp_path: Path):
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", piece(number, 1.5), 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(UserError, match=r"1 of 4 files .* task.on_bad_file=skip"):
        Piano(seed=0, seqlen=64, path=tmp_path).describe()
    assert len(Piano(seed=0, seqlen=64, path=tmp_path, on_bad_file="skip").streams["train"]) == 3

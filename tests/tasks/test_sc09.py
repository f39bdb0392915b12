"""Spoken digits: what is read, what is held out, and what a classifier sees."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, SPLITS
from seqsuite.tasks.prepare import digit_clips
from seqsuite.tasks.sc09 import SC09
from seqsuite.tasks.sc09_classifier import SC09Classifier
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.speech_commands import DIGITS, find_digits

from ..spoken import RATE, word, write_digits


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return write_digits(tmp_path / "sc09")


def test_official_lists_decide_and_no_speaker_is_in_two_splits(digits: Path) -> None:
    splits = find_digits(digits)
    assert {split: len(files) for split, files in splits.items()} == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }
    assert {file.speaker for file in splits["train"]} == {"a1", "a2", "a3"}
    assert {file.speaker for file in splits["validation"]} == {"b1"}
    assert {file.speaker for file in splits["test"]} == {"c1"}
    for files in splits.values():
        assert all(file.path.parent.name == DIGITS[file.digit] for file in files)


def test_the_folder_in_an_archive_and_other_words_are_no_trouble(digits: Path) -> None:
    (digits / "bed").mkdir()
    soundfile.write(digits / "bed" / "a1_nohash_0.wav", word(0, 0), RATE)
    (digits / "zero" / "._b1_nohash_0.wav").write_bytes(b"what an archiver leaves")
    assert {split: len(files) for split, files in find_digits(digits.parent).items()} == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }


def test_a_clip_is_predicted_whole_from_silence(digits: Path) -> None:
    task = SC09(seed=0, path=digits)
    batch = task.eval_batch(task.eval_sets("test")[0], range(10))
    assert batch.inputs.shape == (10, 16_000)
    assert (batch.inputs[:, 0] == 128).all()
    assert (batch.targets != IGNORE).all()
    wave, _ = soundfile.read(digits / "zero" / "c1_nohash_0.wav", dtype="float32")
    np.testing.assert_array_equal(batch.targets[0, :8_000], audio.encode(wave))
    assert (batch.targets[:, 8_000:] == 128).all()  # half a second of silence
    assert task.prompt().tolist() == [128]
    assert task.metrics[0].name == "bits_per_sample"
    assert len(task.train_batch(range(3)).inputs) == 3


@pytest.mark.parametrize("rate", [8_000, 4_000, 2_000])
def test_a_lower_rate_keeps_the_pitch_and_the_second(digits: Path, rate: int) -> None:
    task = SC09(seed=0, path=digits, sample_rate=rate)
    codes = task.eval_batch(task.eval_sets("test")[0], range(1)).targets[0]
    assert len(codes) == task.io.seqlen == task.sample_length == rate
    spectrum = np.abs(np.fft.rfft(audio.decode(codes)))  # one second: a bin a hertz
    assert spectrum.argmax() == pytest.approx(200, abs=2)
    assert SC09Classifier(seed=0, path=digits, sample_rate=rate).fingerprint() == task.fingerprint()


def test_longer_recordings_are_cut_and_the_clips_are_read_once(digits: Path, monkeypatch) -> None:
    soundfile.write(digits / "nine" / "a1_nohash_0.wav", word(9, 0, seconds=3), RATE)
    first = SC09(seed=0, path=digits)
    assert all(len(stream) == 16_001 for split in SPLITS for stream in first.streams[split])
    monkeypatch.setattr(digit_clips.audio, "read_waves", lambda file: pytest.fail("read again"))
    assert SC09(seed=1, path=digits).fingerprint() == first.fingerprint()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(digits.parent / "cache"))
    soundfile.write(digits / "nine" / "a1_nohash_0.wav", word(9, 1), RATE)
    assert SC09(seed=0, path=digits).fingerprint() != first.fingerprint()


def test_what_is_wrong_with_a_folder_is_one_sentence(digits: Path, caplog) -> None:
    with pytest.raises(UserError, match=r"There is no folder at task.path=.*nowhere"):
        SC09(seed=0, path=digits / "nowhere")
    (digits / "zero" / "a1_nohash_0.wav").write_bytes(b"no audio")
    with pytest.raises(UserError, match=r"1 of 30 files .* task.on_bad_file=skip .*a1_nohash_0.wav"):
        SC09(seed=0, path=digits).describe()
    skipped = SC09Classifier(seed=0, path=digits, on_bad_file="skip")
    assert "train 29, validation 10, test 10" in skipped.describe()
    (digits / "zero" / "b1_nohash_0.wav").unlink()
    with caplog.at_level(logging.WARNING):
        find_digits(digits)
    assert "1 file in the lists not there: 'zero/b1_nohash_0.wav'" in caplog.text
    (digits / "testing_list.txt").write_text("zero/c1_nohash_0.wav\none/b1_nohash_0.wav\n")
    with pytest.raises(UserError, match=r"both lists name 'one/b1_nohash_0\.wav'"):
        find_digits(digits)
    (digits / "testing_list.txt").write_text("\n")
    with pytest.raises(UserError, match=r"nothing for the test split: no file of testing_list.txt is there"):
        find_digits(digits)
    (digits / "testing_list.txt").unlink()
    with pytest.raises(UserError, match=r"has no testing_list.txt: .* official lists"):
        SC09Classifier(seed=0, path=digits)


def test_a_speaker_in_two_splits_is_named(digits: Path, caplog) -> None:
    (digits / "testing_list.txt").write_text("zero/c1_nohash_0.wav\none/a1_nohash_0.wav\n")
    find_digits(digits)
    assert "speakers are in two splits: 'a1', 'c1'" in caplog.text


def test_without_a_synthesizer_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for task in (SC09, SC09Classifier):
        with pytest.raises(UserError, match=r"apt install espeak-ng.*`seqsuite data fetch sc09` gets them"):
            task(seed=0)


def test_the_classifier_sees_mel_bands_of_what_is_said(digits: Path) -> None:
    task = SC09Classifier(seed=0, path=digits)
    which = task.eval_sets("validation")[0]
    batch = task.eval_batch(which, range(which.rows))
    assert batch.inputs.shape == (10, task.io.seqlen, task.io.d_input) == (10, 101, 40)
    assert batch.inputs.dtype == np.float32
    assert batch.targets.tolist() == list(range(10))
    assert (batch.inputs[:, 60:] < 1e-3).all()  # silence is nothing
    loudest = batch.inputs[:, 10].argmax(axis=1)
    assert (np.diff(loudest) >= 0).all()  # a higher digit is a higher pitch
    assert loudest[9] > loudest[0]
    np.testing.assert_allclose(task.inputs_of(np.full((2, 16_000), 128)), 0, atol=1e-3)


def test_training_clips_are_moved_and_nothing_is_lost_at_the_edges(digits: Path) -> None:
    task = SC09Classifier(seed=0, path=digits, shift=0.1)
    batch = task.train_batch(range(64))
    assert set(batch.targets.tolist()) == set(range(10))
    loud = batch.inputs.max(axis=2) > 0.5
    starts = loud.argmax(axis=1)
    assert starts.min() == 0
    assert 5 < starts.max() <= 11  # a tenth of a second is ten frames
    assert abs(np.corrcoef(batch.targets, starts)[0, 1]) < 0.4  # how far has nothing to do with what is said
    still = SC09Classifier(seed=0, path=digits, shift=0.0).train_batch(range(64))
    assert (still.inputs.max(axis=2) > 0.5).argmax(axis=1).max() <= 1
    np.testing.assert_array_equal(task.train_batch(range(5, 7)).inputs, batch.inputs[5:7])


def test_fewer_rows_of_a_set_are_evenly_spaced(digits: Path) -> None:
    task = SC09Classifier(seed=0, path=digits, eval_examples=5)
    (which,) = task.eval_sets("test")
    assert which.rows == 5
    assert task.eval_batch(which, range(5)).targets.tolist() == [0, 2, 4, 7, 9]

import sys
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS
from seqsuite.tasks.prepare import spoken_digits as module
from seqsuite.tasks.prepare.spoken_digits import DIGITS, TIMBRES, planned_clips, spoken_digits
from seqsuite.tasks.sources import audio

PROGRAM = """#!{python} -IS
# Stands in for espeak-ng: a beep whose pitch is the digit's, half a second long, at another rate.
import sys, wave, array, math
if "--version" in sys.argv:
    sys.exit(print("eSpeak NG text-to-speech: 9.99  Data at: nowhere"))
if "-v" in sys.argv and sys.argv[sys.argv.index("-v") + 1].endswith("+broken"):
    sys.exit("no such voice")
pitch = 200 + 50 * {digits}.index(sys.argv[-1])
samples = array.array("h", (round(9000 * math.sin(2 * math.pi * pitch * t / 22050)) for t in range(11025)))
with wave.open(sys.argv[sys.argv.index("-w") + 1], "wb") as out:
    out.setparams((1, 2, 22050, 0, "NONE", ""))
    out.writeframes(samples.tobytes() + bytes(4410))
"""


@pytest.fixture
def synthesizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called espeak-ng on an otherwise empty path, few voices, and an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "ACCENTS", ("en-us",))
    monkeypatch.setattr(module, "TAKES", 1)
    monkeypatch.setattr(module, "TIMBRES", {"train": ("m1",), "validation": ("m6",), "test": ("f5",)})
    return tmp_path / "bin" / "espeak-ng"


def install(synthesizer: Path) -> None:
    synthesizer.write_text(PROGRAM.format(python=sys.executable, digits=DIGITS))
    synthesizer.chmod(0o755)


def test_no_voice_is_in_two_splits_and_all_digits_are_as_frequent() -> None:
    voices = [timbre for split in SPLITS for timbre in TIMBRES[split]]
    assert len(voices) == len(set(voices))
    assert sum(len(planned_clips(split)) for split in SPLITS) == 1200  # as docs/audio.md says
    for split in SPLITS:
        clips = planned_clips(split)
        assert clips == planned_clips(split)
        counts = np.bincount([clip.digit for clip in clips])
        assert len(counts) == 10
        assert set(counts) == {len(clips) // 10}
        assert len({clip.pitch for clip in clips}) > 20
        assert {clip.timbre for clip in clips} == set(TIMBRES[split])


def test_clips_are_a_second_of_the_digit_that_is_said(synthesizer: Path) -> None:
    install(synthesizer)
    digits = spoken_digits()
    for split in SPLITS:
        assert digits[split].codes.shape == (10, 16_000)
        assert digits[split].digits.tolist() == list(range(10))
        for codes, clip in zip(digits[split].codes, digits[split].clips, strict=True):
            wave = audio.decode(np.asarray(codes))
            pitch = np.abs(np.fft.rfft(wave)).argmax()  # one second: a bin a hertz
            assert pitch == pytest.approx(200 + 50 * clip.digit, abs=2)
            assert np.abs(wave).max() == pytest.approx(clip.gain, rel=0.05)
            loud = np.flatnonzero(np.abs(wave) > 0.02)
            assert loud[0] == pytest.approx(clip.offset * 8_000, abs=30)


def test_they_are_spoken_once(synthesizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(synthesizer)
    first = spoken_digits()["test"].codes.copy()
    monkeypatch.setattr(module, "speak", lambda clip: pytest.fail("spoken again"))
    np.testing.assert_array_equal(spoken_digits()["test"].codes, first)


def test_what_is_missing_or_fails_is_one_sentence(synthesizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="apt install espeak-ng"):
        spoken_digits()
    install(synthesizer)
    monkeypatch.setitem(module.TIMBRES, "train", ("broken",))
    with pytest.raises(UserError, match=r"cannot speak with the voice 'en-us\+broken': no such voice"):
        spoken_digits()

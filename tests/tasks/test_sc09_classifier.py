"""What a classifier of spoken digits sees, and how far a clip is moved, worked out on their own."""

from pathlib import Path

import numpy as np
import pytest

from seqsuite.tasks.base import Baseline, ModelIO
from seqsuite.tasks.prepare.digit_clips import load_digits
from seqsuite.tasks.sc09_classifier import SC09Classifier
from seqsuite.tasks.sources import audio

from ..spoken import write_digits

RATE = 2000


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(autouse=True)
def cache(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(digits / "cache"))


def mel_bands(rate: int, count: int) -> np.ndarray:
    """Triangles (frequencies, bands) that are evenly spaced in 2595 log10(1 + f / 700), from 0 on."""
    window = rate * 32 // 1000
    highest = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, count + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate // 2, window // 2 + 1)[:, None]
    up = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - frequencies) / np.diff(edges)[1:]
    return np.maximum(np.minimum(up, down), 0)


@pytest.mark.parametrize(("rate", "bands"), [(16000, 40), (8000, 40), (4000, 40), (2000, 32)])
def test_a_frame_is_the_power_of_32_ms_in_mel_bands(digits: Path, rate: int, bands: int) -> None:
    task = SC09Classifier(seed=0, path=digits, sample_rate=rate)
    assert task.io == ModelIO(seqlen=101, d_input=bands, n_classes=10)
    codes = np.random.default_rng(0).integers(0, 256, (2, rate)).astype(np.uint8)
    found = task.inputs_of(codes)
    assert found.shape == (2, 101, bands)
    window = rate * 32 // 1000
    taper = np.sin(np.pi * np.arange(window) / window) ** 2
    for clip, frame in ((0, 50), (1, 0), (1, 100)):
        wave = np.pad(audio.decode(codes[clip]), window // 2)
        first = frame * rate // 100
        power = np.abs(np.fft.rfft(taper * wave[first : first + window])) ** 2 / window
        expected = np.log(power @ mel_bands(rate, bands) + 1e-4) - np.log(1e-4)
        np.testing.assert_allclose(found[clip, frame], expected / 4, rtol=1e-3, atol=1e-3)


def test_a_training_clip_is_moved_by_at_most_its_share_of_a_second(digits: Path) -> None:
    """Every move that can be occurs, to either side, and what comes in is silence."""
    task = SC09Classifier(seed=3, path=digits, sample_rate=RATE, shift=0.001)
    clips = load_digits(digits, RATE, "refuse")["train"]
    moved = []
    for move in range(-3, 4):
        codes = np.full((len(clips.codes), RATE), 128, np.uint8)
        codes[:, max(move, 0) : RATE + min(move, 0)] = clips.codes[:, 1 + max(-move, 0) :][
            :, : RATE - abs(move)
        ]
        moved.append(task.inputs_of(codes))
    batch = task.train_batch(range(240))
    seen = []
    for inputs, digit in zip(batch.inputs, batch.targets, strict=True):
        gaps = np.array([np.abs(each - inputs).max(axis=(1, 2)) for each in moved])
        number, clip = np.unravel_index(gaps.argmin(), gaps.shape)
        assert gaps[number, clip] < 1e-5
        assert clips.digits[clip] == digit
        seen.append((int(number) - 3, int(clip)))
    assert {move for move, _ in seen} == {-2, -1, 0, 1, 2}
    assert {clip for _, clip in seen} == set(range(30))


def test_all_clips_are_scored_or_as_many_as_are_asked_for(digits: Path) -> None:
    for asked, rows in ((None, 10), (3, 3), (99, 10)):
        task = SC09Classifier(seed=0, path=digits, sample_rate=RATE, eval_examples=asked)
        (which,) = task.eval_sets("test")
        assert (which.rows, which.seqlen) == (rows, 101)
        assert task.baselines(which) == (Baseline("chance", 10.0),)
        clips = load_digits(digits, RATE, "refuse")["test"]
        chosen = [0, 4, 9] if rows == 3 else list(range(10))  # evenly spaced
        batch = task.eval_batch(which, range(rows))
        np.testing.assert_array_equal(batch.targets, clips.digits[chosen])
        np.testing.assert_array_equal(batch.inputs, task.inputs_of(clips.codes[chosen, 1:]))

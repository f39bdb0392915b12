import numpy as np
import pytest

from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.audio_fingerprint import landmarks, shared_passages

from ..music import RATE, piece


def test_a_passage_of_one_recording_in_another_split_is_found_wherever_it_was_cut() -> None:
    rng = np.random.default_rng(9)
    source = piece(0)
    copy = piece(1)
    copy[70_001 : 70_001 + 8 * RATE] = 0.4 * source[100_003 : 100_003 + 8 * RATE]
    copy += rng.normal(scale=0.002, size=len(copy)).astype(np.float32)
    splits = {
        "train": {"a": audio.encode(source), "b": audio.encode(piece(2))},
        "test": {"c": audio.encode(piece(3)), "d": audio.encode(copy)},
    }
    (passage,) = shared_passages(splits)
    assert (passage.first, passage.second) == ("a", "d")
    assert passage.first_start == pytest.approx(100_003 / RATE, abs=1.5)
    assert passage.second_start - passage.first_start == pytest.approx((70_001 - 100_003) / RATE, abs=0.05)
    assert passage.seconds == pytest.approx(8, abs=2.5)


def test_chance_agreement_of_music_in_one_metre_hides_no_passage() -> None:
    source, other = (piece(seed, seconds=60, pitches=24, beat=8_192) for seed in (0, 1))
    start, length = 20 * 8_192, 8 * RATE
    other[start : start + length] = source[start : start + length]
    splits = {"train": {"a": audio.encode(source)}, "test": {"b": audio.encode(other)}}
    (passage,) = shared_passages(splits)
    assert passage.first_start == passage.second_start
    assert passage.first_start == pytest.approx(start / RATE, abs=1.5)
    assert passage.seconds == pytest.approx(8, abs=2.5)


def test_copies_within_a_split_are_no_leak() -> None:
    codes = audio.encode(piece(0))
    assert shared_passages({"train": {"a": codes, "b": codes}, "test": {"c": audio.encode(piece(1))}}) == []
    ((first, second, *_),) = shared_passages({"train": {"a": codes}, "test": {"b": codes}})
    assert (first, second) == ("a", "b")


def test_other_music_shares_nothing() -> None:
    pieces = [audio.encode(piece(seed)) for seed in range(10, 20)]
    splits = {
        "train": {str(i): codes for i, codes in enumerate(pieces[:5])},
        "validation": {str(i): codes for i, codes in enumerate(pieces[5:8])},
        "test": {str(i): codes for i, codes in enumerate(pieces[8:])},
    }
    assert shared_passages(splits) == []


def test_a_steady_tone_has_no_landmarks_that_tell_anything() -> None:
    tone = audio.encode((0.5 * np.sin(2 * np.pi * 440 * np.arange(60 * RATE) / RATE)).astype(np.float32))
    assert shared_passages({"train": {"a": tone}, "test": {"b": tone[5_000:]}}) == []


@pytest.mark.parametrize("length", [0, 10, 1024, 40_000])
def test_silence_has_no_landmarks(length: int) -> None:
    silence = np.full(length, 128, dtype=np.uint8)
    assert len(landmarks(silence).hashes) == 0
    assert shared_passages({"train": {"a": silence}, "test": {"b": silence}}) == []

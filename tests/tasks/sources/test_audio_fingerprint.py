from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.audio_fingerprint import (
    Landmarks,
    Passage,
    landmarks,
    passages_of,
    shared_passages,
)

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


def clip(seed: int, frames: int) -> np.ndarray:
    """Return a clip that fills so many frames of half an overlap, each of another loudness."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.05, 1, frames + 1), 512)
    return (0.3 * loudness * rng.normal(size=len(loudness))).astype(np.float32)


def found_by_looking(wave: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return landmarks as first bin, second bin, frames between and first frame, by the description."""
    edges = [6, 12, 20, 32, 50, 80, 128, 256]
    window = np.hanning(1024).astype(np.float32)
    spectra = [np.abs(np.fft.rfft(wave[at : at + 1024] * window)) for at in range(0, len(wave) - 1023, 512)]
    levels = [[part.max() for part in np.split(spectrum, edges)[1:-1]] for spectrum in spectra]
    faint = max(1e-3 * max(map(max, levels)), 1e-2)
    peaks = []
    for frame, spectrum in enumerate(spectra):
        for band, low in enumerate(edges[:-1]):
            level = levels[frame][band]
            if level > faint and level == max(row[band] for row in levels[max(frame - 6, 0) : frame + 7]):
                peaks.append((frame, low + int(spectrum[low : edges[band + 1]].argmax())))
    pairs = [
        (bin_, other_bin, other - frame, frame)
        for place, (frame, bin_) in enumerate(sorted(peaks))
        for other, other_bin in sorted(peaks)[place + 1 : place + 6]
        if 0 < other - frame <= 64
    ]
    times = Counter(pair[:3] for pair in pairs)
    return [pair for pair in pairs if times[pair[:3]] <= 50]


def unpacked(found: Landmarks) -> list[tuple[int, int, int, int]]:
    bins, between = np.divmod(found.hashes, 65)
    first, second = np.divmod(bins, 256)
    return list(zip(*(row.tolist() for row in (first, second, between, found.frames)), strict=True))


QUIET = np.zeros(512, dtype=np.float32)


@pytest.mark.parametrize(
    "wave",
    [
        clip(0, 150),
        np.concatenate([part for gap in (40, 52, 53, 54, 55) for part in (clip(gap, 9), *[QUIET] * gap)]),
        np.tile(np.concatenate([clip(1, 8), *[QUIET] * 13]), 50),
        np.tile(np.concatenate([clip(1, 8), *[QUIET] * 13]), 51),
    ],
    ids=["noise", "gaps", "fifty times", "fifty-one times"],
)
def test_landmarks_are_pairs_of_the_loudest_bins(wave: np.ndarray) -> None:
    codes = audio.encode(wave)
    found = landmarks(codes)
    assert (np.diff(found.hashes) >= 0).all()
    assert sorted(unpacked(found)) == sorted(found_by_looking(audio.decode(codes)))


def test_landmarks_of_a_long_piece_are_those_of_its_parts() -> None:
    silence = np.full(4_080 * 512, 128, dtype=np.uint8)
    part = audio.encode(clip(2, 40))
    alone, late = landmarks(part), landmarks(np.concatenate([silence, part]))
    inside = late.frames - 4_080 > 6  # before it, the silence has no landmarks of its own but moves peaks
    assert set(unpacked(Landmarks(late.hashes[inside], late.frames[inside] - 4_080))) == {
        pair for pair in unpacked(alone) if pair[3] > 6
    }


def made(frames: Iterable[int], first_hash: int = 0) -> Landmarks:
    """Return landmarks at frames, each of a hash of its own."""
    places = np.array(list(frames), dtype=np.int64)
    return Landmarks(first_hash + np.arange(len(places)), places)


def shared(its: Landmarks, others: Landmarks, min_seconds: float = 4.0) -> list[tuple[float, float, float]]:
    passages = passages_of({"train": {"a": its}, "test": {"b": others}}, min_seconds=min_seconds)
    return [(p.first_start, p.second_start, p.seconds) for p in passages]


def test_a_passage_is_told_in_frames_of_32_ms() -> None:
    frames = np.arange(250, 375)  # 125 frames are 4 s
    assert shared(made(frames), made(frames - 125)) == [(8.0, 4.0, 4.0)]
    assert shared(made(frames), made(frames + 250)) == [(8.0, 16.0, 4.0)]
    assert shared(made(frames), made(frames), 4.001) == []
    assert shared(made(frames), made(frames, first_hash=125)) == []


def test_a_shift_of_half_a_frame_falls_on_two() -> None:
    frames = np.arange(0, 125)
    halves = frames + 125 + frames % 2
    assert shared(made(frames), made(halves)) == [(0.0, pytest.approx(126 * 0.032), 4.0)]
    thirds = frames + 125 + np.where(frames % 3 == 2, 2, 0)  # two frames apart is no agreement
    assert shared(made(frames), made(thirds)) == [(0.0, 4.0, 4.0)]


def test_a_passage_has_three_landmarks_a_second() -> None:
    frames = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 124]
    assert shared(made(frames), made(frames)) == [(0.0, 0.0, 4.0)]
    assert shared(made([0, *frames[2:]]), made([0, *frames[2:]])) == []


def test_a_passage_ends_before_a_gap_of_more_than_64_frames() -> None:
    first = np.arange(0, 125)
    assert shared(made([*first, *range(188, 200)]), made([*first, *range(188, 200)])) == [(0.0, 0.0, 6.4)]
    assert shared(made([*first, *range(189, 200)]), made([*first, *range(189, 200)])) == [(0.0, 0.0, 4.0)]
    later = [0, 1, *(first + 66)]
    assert shared(made(later), made(later)) == [(66 * 0.032, 66 * 0.032, 4.0)]


def test_a_landmark_that_pieces_have_several_times_is_compared_with_each() -> None:
    frames = np.arange(125)
    its = Landmarks(np.repeat(np.arange(125), 2), np.stack([frames, 13 * frames + 500], axis=1).reshape(-1))
    others = Landmarks(
        np.repeat(np.arange(125), 3), np.stack([frames + 250, 7 * frames, 1_999 - frames], axis=1).reshape(-1)
    )
    assert shared(its, others) == [(0.0, 8.0, 4.0)]
    assert shared(others, its) == [(8.0, 0.0, 4.0)]


def test_a_passage_reads_as_one_line() -> None:
    passage = Passage("train/a.wav", "test/b.wav", 12.3, 61.9, 8.4)
    assert str(passage) == "8 s of a.wav from 12 s on, in b.wav from 62 s on"


def test_every_two_splits_are_compared() -> None:
    piece_of_all = made(range(200))
    splits = {split: {split: piece_of_all} for split in ("train", "validation", "test")}
    pairs = [(passage.first, passage.second) for passage in passages_of(splits)]
    assert pairs == [("train", "validation"), ("train", "test"), ("validation", "test")]

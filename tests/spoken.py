"""Recordings in the layout of SC09, of tones in place of words: a pitch a digit, a speaker a timbre."""

from pathlib import Path

import numpy as np
import soundfile

from seqsuite.tasks.sources.speech_commands import DIGITS

SPEAKERS = {"train": ("a1", "a2", "a3"), "validation": ("b1",), "test": ("c1",)}
RATE = 16_000


def word(digit: int, speaker: int, seconds: float = 0.5) -> np.ndarray:
    """Return a tone with one overtone, whose level is the speaker's."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 200 + 70 * digit
    return 0.3 * np.sin(2 * np.pi * pitch * time) + 0.05 * speaker * np.sin(4 * np.pi * pitch * time)


def write_digits(folder: Path) -> Path:
    """Write 50 clips and the official lists, which name a word besides, and return the folder."""
    lists: dict[str, list[str]] = {split: [] for split in SPEAKERS}
    speakers = [(split, name) for split, names in SPEAKERS.items() for name in names]
    for digit, name in enumerate(DIGITS):
        (folder / name).mkdir(parents=True)
        for number, (split, speaker) in enumerate(speakers):
            file = f"{name}/{speaker}_nohash_0.wav"
            soundfile.write(folder / file, word(digit, number), RATE)
            lists[split].append(file)
    (folder / "validation_list.txt").write_text("\n".join([*lists["validation"], "bed/b1_nohash_0.wav"]))
    (folder / "testing_list.txt").write_text("\n".join(lists["test"]) + "\n")
    return folder

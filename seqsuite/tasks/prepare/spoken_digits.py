"""Spoken digits by a speech synthesizer: a synthetic stand-in for recordings where there is no network.

Each clip is one second at 16 kHz, as in SC09. The timbres of the three splits are disjoint, so that a model
is scored on voices that it has never heard; accent, pitch, speed, loudness and place in the second vary.
"""

import logging
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.prepare.manifest import read_manifest, write_manifest
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import reason_of
from seqsuite.tasks.sources.speech_commands import DIGITS

log = logging.getLogger(__name__)

TIMBRES: dict[Split, tuple[str, ...]] = {
    "train": ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"),
    "validation": ("m6", "f4"),
    "test": ("m7", "f5"),
}
"""Variants of espeak-ng's voices; none is in two splits."""

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")

TAKES = 2
"""Clips of each digit by each timbre and accent."""

_PROGRAM = "espeak-ng"
_RECIPE = 1
"""Part of the cache folder's name: raise it when the recipe changes what is spoken."""

_PITCH, _SPEED, _GAIN = (30, 70), (130, 190), (0.4, 1.0)
_SILENT = 0.01


class Clip(NamedTuple):
    """What is said and how: pitch 0-99, speed in words a minute, peak, and the share of silence before it."""

    digit: int
    timbre: str
    accent: str
    pitch: int
    speed: int
    gain: float
    offset: float


@dataclass(frozen=True)
class SpokenDigits:
    """The clips of a split.

    Attributes:
        codes: Mu-law codes (U, 16 000), uint8, memory-mapped.
        digits: What is said (U,), 0 to 9.
        clips: How it is said.
    """

    codes: audio.Codes
    digits: npt.NDArray[np.int64]
    clips: tuple[Clip, ...]


def planned_clips(split: Split) -> list[Clip]:
    """Return the clips of a split; nothing but this recipe decides what they are."""
    clips = []
    for timbre, accent, digit, take in product(TIMBRES[split], ACCENTS, range(len(DIGITS)), range(TAKES)):
        key = [_RECIPE, digit, take, *timbre.encode(), *accent.encode()]
        rng = np.random.default_rng(key)
        pitch, speed = int(rng.integers(*_PITCH)), int(rng.integers(*_SPEED))
        clips.append(Clip(digit, timbre, accent, pitch, speed, rng.uniform(*_GAIN), rng.uniform()))
    return clips


def spoken_digits() -> dict[Split, SpokenDigits]:
    """Return the clips of each split, spoken on first use (a minute) and kept in the user's cache folder.

    Raises:
        UserError: if ``espeak-ng`` is not installed or fails, or the cache folder cannot be written.
    """
    folder = _cache_folder(_version())
    try:
        _fill(folder)
        return {split: _load(folder, split) for split in SPLITS}
    except OSError as error:
        raise UserError(
            f"The spoken digits cannot be kept in {str(folder.parent)!r}: {reason_of(error)}; "
            "point XDG_CACHE_HOME to a folder that you can write."
        ) from error


def _cache_folder(version: str) -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("seqsuite") / f"spoken-digits-{_RECIPE}-{_PROGRAM}{version}"


def require_synthesizer() -> None:
    """Check that the synthesizer is installed; cheap, for constructors.

    Raises:
        UserError: if it is not.
    """
    if shutil.which(_PROGRAM) is None:
        raise UserError(
            f"The synthetic spoken digits need {_PROGRAM}, which is not installed: on Debian and Ubuntu run "
            f"apt install {_PROGRAM}, on a Mac brew install {_PROGRAM}; or give recordings by "
            "task.path=FOLDER: `seqsuite data fetch sc09` gets them."
        )


def _version() -> str:
    require_synthesizer()
    shown = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d[\w.]*", shown)
    return found[0] if found else "unknown"


def _fill(folder: Path) -> None:
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if read_manifest(folder) is not None:
            return
        log.info("Having %s speak the digits into %s (once, about a minute)", _PROGRAM, folder)
        folder.mkdir(exist_ok=True)
        for split in SPLITS:
            with ThreadPoolExecutor() as pool:
                np.save(folder / f"{split}.npy", np.stack(list(pool.map(speak, planned_clips(split)))))
        write_manifest(folder, [f"{split}.npy" for split in SPLITS], {"recipe": _RECIPE})


def _load(folder: Path, split: Split) -> SpokenDigits:
    clips = tuple(planned_clips(split))
    codes: audio.Codes = np.load(folder / f"{split}.npy", mmap_mode="r")
    return SpokenDigits(codes, np.array([clip.digit for clip in clips]), clips)


def speak(clip: Clip) -> audio.Codes:
    """Return one second (16 000,) of mu-law codes."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "clip.wav"
        voice = ["-v", f"{clip.accent}+{clip.timbre}", "-p", str(clip.pitch), "-s", str(clip.speed)]
        command = [_PROGRAM, *voice, "-w", str(wav), DIGITS[clip.digit]]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode or not wav.is_file():
            reason = (run.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
            raise UserError(f"{_PROGRAM} cannot speak with the voice {voice[1]!r}: {reason}.")
        spoken = np.concatenate(list(audio.read_waves(wav)))
    loud = np.flatnonzero(np.abs(spoken) > _SILENT * np.abs(spoken).max(initial=0))
    word = spoken[loud[0] : loud[-1] + 1][: audio.SAMPLE_RATE] if len(loud) else spoken[:0]
    second = np.zeros(audio.SAMPLE_RATE, dtype=np.float32)
    start = round(clip.offset * (len(second) - len(word)))
    second[start : start + len(word)] = word * (clip.gain / max(np.abs(word).max(initial=0), _SILENT))
    return audio.encode(second)

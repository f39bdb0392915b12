"""Spoken digits as clips of one second, at any of a few rates: recordings, or the synthetic stand-in."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.prepare.manifest import read_manifest, write_manifest
from seqsuite.tasks.prepare.spoken_digits import require_synthesizer, spoken_digits
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.duplicates import content_hash
from seqsuite.tasks.sources.files import OnBadFile, read_files, reason_of
from seqsuite.tasks.sources.speech_commands import DigitFile, check_layout, find_digits
from seqsuite.wording import counted

log = logging.getLogger(__name__)

SAMPLE_RATES = (16_000, 8_000, 4_000, 2_000)


def _known_rate(rate: int) -> int:
    if rate not in SAMPLE_RATES:
        raise ValueError(f"choose from {', '.join(map(str, SAMPLE_RATES))}")
    return rate


SampleRate = Annotated[int, AfterValidator(_known_rate)]
"""Samples a second that clips may have; the recordings have 16 000."""

SILENCE = 128
"""The mu-law code of nothing."""

_RECIPE = 1
"""Part of the cache folder's name: raise it when clips are made of files in another way."""


class Clips(NamedTuple):
    """Clips of one second, each after one silent sample, from which a model predicts the first.

    Attributes:
        codes: Mu-law codes (U, 1 + L), uint8; they may be memory-mapped.
        digits: What is said (U,), 0 to 9, int64.
    """

    codes: audio.Codes
    digits: npt.NDArray[np.int64]


def check_digits(path: Path | None) -> None:
    """Check that there is something to read or to speak; cheap, for constructors.

    Raises:
        UserError: if there is not.
    """
    if path is None:
        require_synthesizer()
    else:
        check_layout(path)


def load_digits(path: Path | None, sample_rate: int, on_bad_file: OnBadFile) -> dict[Split, Clips]:
    """Return the clips of each split: recordings below a folder, or the synthetic ones.

    Args:
        path: The folder of SC09 or Speech Commands, or ``None``.
        sample_rate: Samples a second L.
        on_bad_file: What to do about a recording that cannot be read.

    Raises:
        UserError: if there is nothing to read or to speak, or the cache folder cannot be written.
    """
    if path is None:
        return synthetic_digits(sample_rate)
    return read_digits(find_digits(path), sample_rate, on_bad_file)


def fingerprint_of(clips: Mapping[Split, Clips]) -> str:
    """Return a hash of all clips, what is said in them, and their splits."""
    digest = hashlib.blake2b(digest_size=8)
    for split in SPLITS:
        digest.update(f"{split} {content_hash(clips[split].codes)}\n".encode())
        digest.update(clips[split].digits.tobytes())
    return digest.hexdigest()


def describe_clips(path: Path | None, clips: Mapping[Split, Clips]) -> str:
    """Return in one line what is read, and how many clips each split has."""
    origin = "synthetic digits, spoken by espeak-ng" if path is None else str(path)
    counts = ", ".join(f"{split} {len(clips[split].codes):,}" for split in SPLITS)
    rate = clips["train"].codes.shape[1] - 1
    return f"{origin}: clips of one second at {rate:,} Hz; {counts}"


def synthetic_digits(sample_rate: int) -> dict[Split, Clips]:
    """Return the synthetic clips of each split at a rate, spoken on first use.

    Raises:
        UserError: if no synthesizer is installed.
    """
    clips = {}
    for split, spoken in spoken_digits().items():
        codes = np.asarray(spoken.codes)
        if sample_rate != audio.SAMPLE_RATE:
            waves = [audio.resample(audio.decode(each), audio.SAMPLE_RATE, sample_rate) for each in codes]
            codes = audio.encode(np.stack(waves))
        clips[split] = Clips(after_silence(codes), spoken.digits)
    return clips


def read_digits(
    splits: Mapping[Split, Sequence[DigitFile]], sample_rate: int, on_bad_file: OnBadFile
) -> dict[Split, Clips]:
    """Return the clips of each split, read once and kept memory-mapped in the user's cache folder.

    A recording becomes one second: what it lacks at its end is silence, what it has more is cut.

    Args:
        splits: The recordings.
        sample_rate: Samples a second L.
        on_bad_file: What to do about a recording that cannot be read.

    Raises:
        UserError: if recordings cannot be read, or the cache folder cannot be written.
    """
    from filelock import FileLock

    folder = _cache_folder(splits, sample_rate)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if read_manifest(folder) is None:
                count = sum(map(len, splits.values()))
                log.info("Reading %s of spoken digits into %s (once)", counted(count, "file"), folder)
                folder.mkdir(exist_ok=True)
                names = [_write(folder, split, splits[split], sample_rate, on_bad_file) for split in SPLITS]
                write_manifest(folder, [name for pair in names for name in pair], {"recipe": _RECIPE})
        return {split: _read(folder, split) for split in SPLITS}
    except OSError as error:
        raise UserError(
            f"The spoken digits cannot be kept in {str(folder.parent)!r}: {reason_of(error)}; "
            "point XDG_CACHE_HOME to a folder that you can write."
        ) from error


def after_silence(codes: audio.Codes) -> audio.Codes:
    """Return codes (U, L) with a silent sample before each clip, (U, 1 + L)."""
    return np.pad(codes, ((0, 0), (1, 0)), constant_values=SILENCE)


def one_second(wave: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float32]:
    """Return the first second (L,) of a wave at 16 kHz at another rate, filled up with silence."""
    second = np.zeros(audio.SAMPLE_RATE, dtype=np.float32)
    second[: min(len(wave), len(second))] = wave[: len(second)]
    return audio.resample(second, audio.SAMPLE_RATE, sample_rate)


def _cache_folder(splits: Mapping[Split, Sequence[DigitFile]], sample_rate: int) -> Path:
    """Return a folder whose name says which files, of which size and time, were read how."""
    from platformdirs import user_cache_path

    digest = hashlib.blake2b(f"{_RECIPE} {sample_rate}\n".encode(), digest_size=8)
    for split in SPLITS:
        for file in splits[split]:
            status = file.path.stat()
            digest.update(f"{split} {file.path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return user_cache_path("seqsuite") / f"digits-{digest.hexdigest()}"


def _write(
    folder: Path, split: Split, files: Sequence[DigitFile], sample_rate: int, on_bad_file: OnBadFile
) -> tuple[str, str]:
    """Write a split's codes and digits, and return the names of the files."""
    read = read_files([file.path for file in files], partial(read_clip, sample_rate=sample_rate), on_bad_file)
    names = f"{split}.npy", f"{split}-digits.npy"
    np.save(folder / names[0], after_silence(np.stack(list(read.values()))))
    np.save(folder / names[1], np.array([file.digit for file in files if file.path in read]))
    return names


def read_clip(file: Path, sample_rate: int) -> audio.Codes:
    """Return the first second (L,) of a recording at a rate, filled up with silence.

    Raises:
        UserError: if it cannot be read, or has zero length.
    """
    wave = np.concatenate([np.zeros(0, np.float32), *_first_second(file)])
    if not len(wave):
        raise UserError(f"The audio file {str(file)!r} has zero length.")
    return audio.encode(one_second(wave, sample_rate))


def _first_second(file: Path) -> Iterator[npt.NDArray[np.float32]]:
    """Yield blocks of a recording until a second is full."""
    length = 0
    for block in audio.read_waves(file):
        yield block
        length += len(block)
        if length >= audio.SAMPLE_RATE:
            return


def _read(folder: Path, split: Split) -> Clips:
    codes: audio.Codes = np.load(folder / f"{split}.npy", mmap_mode="r")
    return Clips(codes, np.load(folder / f"{split}-digits.npy"))

"""Audio as 8-bit mu-law bytes: 16 kHz, mono, at a fixed scale."""

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError

SAMPLE_RATE = 16_000
"""Samples a second of all audio in the suite."""

LEVELS = 256
"""Mu-law codes."""

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

Codes = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]


def to_mono_16k(wave: Wave, sample_rate: int) -> Wave:
    """Return ``wave`` (L, channels) as the mean of its channels (L'), resampled to :data:`SAMPLE_RATE`."""
    import torch
    from torchaudio.functional import resample

    mono = torch.from_numpy(wave.mean(axis=1))
    return cast(Wave, resample(mono, sample_rate, SAMPLE_RATE).numpy())


def encode(wave: Wave) -> Codes:
    """Return the mu-law codes of ``wave`` (L,) in [-1, 1]; what lies beyond is clipped.

    The scale is fixed, so that loudness is kept and silence is always 128.
    """
    import torch
    from torchaudio.functional import mu_law_encoding

    clipped = torch.from_numpy(wave).clamp(-1, 1)
    return cast(Codes, mu_law_encoding(clipped, LEVELS).to(torch.uint8).numpy())


def decode(codes: Codes) -> Wave:
    """Return the wave (L,) in [-1, 1] of mu-law codes."""
    import torch
    from torchaudio.functional import mu_law_decoding

    return cast(Wave, mu_law_decoding(torch.from_numpy(codes.astype(np.int64)), LEVELS).numpy())


def read_audio(file: Path) -> Codes:
    """Return the mu-law codes (L,) of an audio file of any rate and number of channels.

    Raises:
        UserError: if the file cannot be read as audio, has no samples, or some that are not numbers.
    """
    import soundfile

    try:
        wave, sample_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"The file {str(file)!r} cannot be read as audio: {error}") from error
    if not len(wave):
        raise UserError(f"The audio file {str(file)!r} has zero length.")
    if not np.isfinite(wave).all():
        raise UserError(f"The audio file {str(file)!r} has samples that are not finite numbers.")
    return encode(to_mono_16k(wave, sample_rate))


def write_wav(codes: Codes, path: Path) -> None:
    """Write mu-law codes (L,) as a 16-bit mono WAV file."""
    import soundfile

    soundfile.write(path, decode(codes), SAMPLE_RATE, subtype="PCM_16", format="WAV")

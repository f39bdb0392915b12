"""Audio of any format, rate and number of channels as mono at 16 kHz, and as tokens."""

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.sources.audio_headers import corrected, shortfall
from seqsuite.tasks.sources.compression import MAX_EXPANSION
from seqsuite.tasks.sources.files import reason_of, require_regular
from seqsuite.tasks.sources.quantization import MU_LAW, Quantization, Tokens, Wave

if TYPE_CHECKING:
    import soundfile

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
"""Samples a second of all audio in the suite."""

SOUND_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".mp3"),
    *(".opus", ".oga", ".aiff", ".aif", ".aifc", ".au", ".snd", ".w64", ".rf64", ".caf"),
)
"""What libsndfile reads."""

FFMPEG_SUFFIXES = (".m4a", ".aac", ".mp4", ".wma", ".webm")
"""What needs ``ffmpeg`` on the path."""

SUFFIXES = (*SOUND_SUFFIXES, *(FFMPEG_SUFFIXES if shutil.which("ffmpeg") else ()))
"""Endings of the files that can be read on this machine."""

NEEDS = {ending: "ffmpeg" for ending in FFMPEG_SUFFIXES if ending not in SUFFIXES}
"""What must be installed to read the others, by ending."""

RATES = range(100, 1_000_001)
"""Sample rates in Hz that a recording may have; a header that claims another is damaged."""

ALWAYS_READ = 1 << 30
"""Up to this many samples, 18 hours, no file is called a bomb."""

_BLOCK = 4096
"""Frames read at once; what a damaged file loses is less than one."""

_CANCELLED = 1e-2
"""Power of the mono mix, relative to its channels', below which they are in opposite phase."""

Codes = npt.NDArray[np.uint8]
"""Mu-law codes."""


def to_mono_16k(wave: Wave, sample_rate: int) -> Wave:
    """Return ``wave`` (L, channels) as the mean of its channels (L'), resampled to :data:`SAMPLE_RATE`."""
    return resample(wave.mean(axis=1), sample_rate, SAMPLE_RATE)


def resample(wave: Wave, sample_rate: int, target: int) -> Wave:
    """Return a wave (L,) or (L, channels) at another rate, with as many channels."""
    import soxr

    return wave if sample_rate == target else cast(Wave, soxr.resample(wave, sample_rate, target))


def encode(wave: Wave) -> Codes:
    """Return the mu-law codes of ``wave`` (L,) in [-1, 1]; what lies beyond is clipped."""
    return cast(Codes, MU_LAW.encode(wave))


def decode(codes: npt.NDArray[np.integer[Any]]) -> Wave:
    """Return the wave (L,) in [-1, 1] of mu-law codes."""
    return MU_LAW.decode(codes)


def read_audio(file: Path, quantization: Quantization = MU_LAW) -> Tokens:
    """Return the tokens (L,) of an audio file of any rate and number of channels.

    See :func:`read_waves`.

    Raises:
        UserError: if the file cannot be read as audio, has no samples, or some that are not numbers.
    """
    content = bytearray()
    dtype = np.dtype(np.uint8 if quantization.vocab_size <= 1 << 8 else np.uint16)
    samples = 0
    for wave in read_waves(file):
        content += quantization.encode(wave).tobytes()
        samples += len(wave)
        if samples > max(ALWAYS_READ, MAX_EXPANSION * file.stat().st_size):
            raise UserError(
                f"The audio file {str(file)!r} is left alone: it expands to over {samples} samples."
            )
    if not content:
        raise UserError(f"The audio file {str(file)!r} has zero length.")
    return np.frombuffer(content, dtype)


def read_waves(file: Path) -> Iterator[Wave]:
    """Yield an audio file as blocks (L,) of mono at :data:`SAMPLE_RATE`, in [-1, 1].

    The file is read until it ends, whatever length its header claims, in bounded memory and time whatever its
    rate. The log says what is missing of it, and when its channels cancel each other in the mix.

    Raises:
        UserError: if the file cannot be read as audio, or has samples that are not numbers.
    """
    try:
        require_regular(file)
        with _readable(file) as readable:
            yield from _read(file, readable)
    except OSError as error:
        raise UserError(f"The file {str(file)!r} cannot be read as audio: {reason_of(error)}.") from error


def write_wav(wave: Wave, path: Path, sample_rate: int = SAMPLE_RATE) -> None:
    """Write a wave (L,) in [-1, 1] as a 16-bit mono WAV file."""
    import soundfile

    steps = 1 << 15  # whole numbers are written as they are, so that 16 bits come back the same
    samples = np.clip(np.rint(wave * steps), -steps, steps - 1).astype(np.int16)
    soundfile.write(path, samples, sample_rate, subtype="PCM_16", format="WAV")


def _read(file: Path, readable: Path) -> Iterator[Wave]:
    import soundfile
    import soxr

    class ForwardReader(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
        def seekable(self) -> bool:
            # Otherwise every read seeks, which fails where the header claims more or less than there is.
            return False

    try:
        with corrected(readable) as source, ForwardReader(source) as sound:
            rate, claimed = sound.samplerate, sound.frames
            if rate not in RATES:
                raise UserError(
                    f"The audio file {str(file)!r} claims {rate} samples a second: its header is damaged."
                )
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
            frames = 0
            power = np.zeros(2)  # of the mix and, on average, of the channels
            for block in _blocks(sound, file):
                if not np.isfinite(block).all():
                    raise UserError(f"The audio file {str(file)!r} has samples that are not finite numbers.")
                frames += len(block)
                mono = block.mean(axis=1)
                power += (np.square(mono, dtype=np.float64).sum(), np.square(block).mean(axis=1).sum())
                yield resampler.resample_chunk(mono)
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    except soundfile.LibsndfileError as error:
        raise UserError(f"The file {str(file)!r} cannot be read as audio: {reason_of(error)}.") from error
    missing = shortfall(readable, frames, claimed)
    if missing:
        log.warning("%s is cut short: %s", file, missing)
    if power[0] < _CANCELLED * power[1]:
        log.warning("%s: its channels are in opposite phase and cancel each other in the mono mix", file)


def _blocks(sound: "soundfile.SoundFile", file: Path) -> Iterator[Wave]:
    """Yield blocks (L, channels) until the file ends or its data is damaged."""
    import soundfile

    frames = 0
    while True:
        try:
            block = sound.read(_BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            if not frames:
                raise
            log.warning("%s is damaged after %.2f s; the rest is left out", file, frames / sound.samplerate)
            return
        if not len(block):
            return
        frames += len(block)
        yield block


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    """Yield the file, or a temporary WAV file of what only ``ffmpeg`` reads."""
    if file.suffix.lower() not in FFMPEG_SUFFIXES:
        yield file
        return
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise UserError(f"The file {str(file)!r} needs ffmpeg to be read: install it, or convert to FLAC.")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "decoded.wav"
        options = ["-nostdin", "-v", "error", "-protocol_whitelist", "file"]
        source, made = (
            ["-i", f"file:{file.absolute()}"],
            ["-vn", "-c:a", "pcm_f32le", "-rf64", "auto", str(wav)],
        )
        run = subprocess.run([ffmpeg, *options, *source, *made], capture_output=True, text=True)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or ["ffmpeg failed"])[-1]
            raise UserError(f"The file {str(file)!r} cannot be read as audio: {reason}.")
        yield wav

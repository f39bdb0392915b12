"""Audio as quantised samples, as WAV files, and as a spectrogram to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.codecs.base import Codec, TokenIds
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.quantization import MU_LAW, Quantization, Wave

_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMN_SECONDS = 0.01  # at least
_COLUMNS = 40  # at most
_WINDOW_SECONDS = 0.032  # of the spectrogram
_FLOOR = -80.0  # decibels below full scale


class AudioCodec(Codec):
    """Tokens are mono samples.

    Args:
        quantization: What tokens a sample is; 8-bit mu-law by default.
        sample_rate: Samples a second.
    """

    suffix = ".wav"

    def __init__(self, quantization: Quantization = MU_LAW, sample_rate: int = audio.SAMPLE_RATE) -> None:
        self._quantization, self._sample_rate = quantization, sample_rate

    @property
    def tokens_per_second(self) -> int:
        """Return how many tokens a second of audio is."""
        return self._sample_rate * self._quantization.tokens_per_sample

    def encode(self, text: str) -> TokenIds:
        """Refuse: audio cannot be typed."""
        raise UserError("A prompt of audio cannot be typed: give a file, with --prompt-file.")

    def read(self, path: Path) -> TokenIds:
        """Return the tokens of an audio file."""
        if self._sample_rate == audio.SAMPLE_RATE:
            return audio.read_audio(path, self._quantization).astype(np.int64)
        wave = np.concatenate(list(audio.read_waves(path)))
        resampled = audio.resample(wave, audio.SAMPLE_RATE, self._sample_rate)
        return self._quantization.encode(resampled).astype(np.int64)

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return a line with the duration, the peak level and the loudness from beginning to end.

        That is of every hundredth of a second, or of as many equal parts as a line has room for.
        """
        wave = self.wave(tokens)
        if not len(wave):
            return "0.00 s"
        count = round(len(wave) / (_COLUMN_SECONDS * self._sample_rate))
        columns = np.array_split(wave, min(max(count, 1), _COLUMNS))
        # A cube root spreads quiet levels over the blocks about as the ear does.
        heights = [round(float(np.abs(column).max()) ** (1 / 3) * (len(_BLOCKS) - 1)) for column in columns]
        drawn = "".join(_BLOCKS[height] for height in heights)
        return f"{len(wave) / self._sample_rate:.2f} s, peak {np.abs(wave).max():.2f} |{drawn}|"

    def preview(self, tokens: Sequence[int] | TokenIds, length: int) -> str:
        """Return what :meth:`decode` does, of all tokens: it is a line."""
        return self.decode(tokens)

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the samples as a WAV file, mono, 16 bits."""
        audio.write_wav(self.wave(tokens), path, self._sample_rate)

    def draw(self, tokens: Sequence[int] | TokenIds, path: Path) -> bool:
        """Draw the wave and its spectrogram over the same seconds, as a PNG."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        wave, rate = self.wave(tokens), self._sample_rate
        window = round(_WINDOW_SECONDS * rate)
        seconds = len(wave) / rate
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
        above.plot(np.arange(len(wave)) / rate, wave, linewidth=0.5)
        above.set_ylim(-1.05, 1.05)
        above.set_ylabel("amplitude")
        levels, hop = _decibels(wave, window), _hop(window) / rate
        image = below.imshow(
            levels,
            origin="lower",
            aspect="auto",
            extent=(-hop / 2, (levels.shape[1] - 0.5) * hop, 0, rate / 2000),
            vmin=_FLOOR,
            vmax=0,
            cmap="magma",
        )
        below.set_xlim(0, max(seconds, 1 / rate))
        below.set_xlabel("time in s")
        below.set_ylabel("frequency in kHz")
        figure.colorbar(image, ax=below, label="level in dB of full scale")
        figure.savefig(path)
        return True

    def wave(self, tokens: Sequence[int] | TokenIds) -> Wave:
        """Return the wave (L,) in [-1, 1] of tokens."""
        return self._quantization.decode(np.asarray(tokens, dtype=np.int64))

    def sample_of_each(self, tokens: TokenIds) -> Wave:
        """Return the sample in [-1, 1] that each token is of (L,); of one that is cut off, silence."""
        samples = np.repeat(self.wave(tokens), self._quantization.tokens_per_sample)
        return np.pad(samples, (0, len(tokens) - len(samples)))


def _hop(window: int) -> int:
    return max(window // 4, 1)


def _decibels(wave: Wave, window: int) -> Wave:
    """Return a spectrogram (frequencies, frames), in decibels of a sine of full scale.

    Frame number k is around sample k · window / 4.
    """
    taper = np.hanning(window).astype(np.float32)
    padded = np.pad(wave, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: _hop(window)]
    power = np.abs(np.fft.rfft(frames * taper, axis=1)).T * (2 / taper.sum())
    levels: Wave = 20 * np.log10(np.maximum(power, 10 ** (_FLOOR / 20))).astype(np.float32)
    return levels

"""Audio as mu-law samples and WAV files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.codecs.base import Codec, TokenIds
from seqsuite.tasks.sources import audio

_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMN_SECONDS = 0.01


class AudioCodec(Codec):
    """A token is a sample: 16 kHz, mono, 8-bit mu-law."""

    suffix = ".wav"

    def encode(self, text: str) -> TokenIds:
        """Refuse: audio cannot be typed."""
        raise UserError("A prompt of audio cannot be typed: give a file, with --prompt-file.")

    def read(self, path: Path) -> TokenIds:
        """Return the samples of an audio file."""
        return audio.read_audio(path).astype(np.int64)

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return a line with the duration, the peak level and the loudness of every hundredth of a second."""
        wave = audio.decode(np.asarray(tokens, dtype=np.uint8))
        if not len(wave):
            return "0.00 s"
        columns = np.array_split(wave, max(round(len(wave) / (_COLUMN_SECONDS * audio.SAMPLE_RATE)), 1))
        # A cube root spreads quiet levels over the blocks about as the ear does.
        heights = [round(float(np.abs(column).max()) ** (1 / 3) * (len(_BLOCKS) - 1)) for column in columns]
        drawn = "".join(_BLOCKS[height] for height in heights)
        return f"{len(wave) / audio.SAMPLE_RATE:.2f} s, peak {np.abs(wave).max():.2f} |{drawn}|"

    def write(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the samples as a WAV file, 16 kHz, mono, 16 bits."""
        audio.write_wav(np.asarray(tokens, dtype=np.uint8), path)

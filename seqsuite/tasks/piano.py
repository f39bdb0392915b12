"""Piano audio as 8-bit mu-law samples: predict the next sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from seqsuite.options import UserPath
from seqsuite.tasks.base import SPLITS, TaskSpec, TokenIds
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import find_files
from seqsuite.tasks.sources.rendered_piano import rendered_pieces
from seqsuite.tasks.sources.samples import require_samples
from seqsuite.tasks.windows import Streams, WindowTask, split_streams

_BLOCKS = " ▁▂▃▄▅▆▇█"
_COLUMN_SECONDS = 0.01


class Piano(WindowTask):
    """Language modelling on raw audio, by default of eight piano pieces rendered from scores.

    A token is one sample: 16 kHz, mono, 8-bit mu-law at a fixed scale, so that silence is always 128 and
    loudness is kept. The metric is bits per sample; a sample is one byte, so this is what the paper calls
    bits per byte.

    The default data is 8.5 minutes of *rendered*, not recorded, music, made on first use (about 10 s) and
    cached: scores by Chopin, Joplin, Mozart, Clara Schumann and C. P. E. Bach, played by a sampled grand
    piano. Whole pieces are held out. With ``path``, ten or more files are held out whole (in order of name
    the ninth of ten is validation, the tenth test), and fewer are each cut by position, 80 % / 10 % / 10 %.

    Args:
        seed: Seed of the training windows; the splits are fixed.
        seqlen: Length of a window in samples.
        path: An audio file (WAV, FLAC, OGG, MP3), or a folder of them, instead of the default data.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.

    Raises:
        UserError: if the data is missing, unreadable, not audio, or too short.
    """

    prompt_length = audio.SAMPLE_RATE // 4
    units = "samples"

    def __init__(
        self,
        *,
        seed: int,
        seqlen: Annotated[int, Field(gt=0)] = 1024,
        path: UserPath | None = None,
        eval_examples: Annotated[int, Field(gt=0)] = 256,
    ) -> None:
        super().__init__(seed=seed, seqlen=seqlen, path=path, eval_examples=eval_examples)
        self._files = find_files(path, audio.SUFFIXES, "audio") if path is not None else None
        if self._files is None:
            require_samples("piano")

    @property
    def spec(self) -> TaskSpec:
        """What the task feeds and expects."""
        return TaskSpec(
            vocab_size=audio.LEVELS,
            seqlen=self.seqlen,
            unit="sample",
            metric="bits_per_sample",
            higher_is_better=False,
            train_examples=self.num_train_windows(),
            sample_suffix=".wav",
        )

    def load_streams(self) -> Streams:
        """Read the rendered pieces, or the user's files."""
        if self._files is not None:
            return split_streams({str(file): audio.read_audio(file) for file in self._files})
        pieces = rendered_pieces()
        return {split: [audio.read_audio(file) for file in pieces[split]] for split in SPLITS}

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

    def render(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write the samples as a WAV file, 16 kHz, mono, 16 bits."""
        audio.write_wav(np.asarray(tokens, dtype=np.uint8), path)

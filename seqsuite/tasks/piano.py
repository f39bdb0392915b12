"""Piano audio as 8-bit mu-law samples: predict the next sample."""

from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS
from seqsuite.tasks.codecs.audio import AudioCodec
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import find_files
from seqsuite.tasks.sources.rendered_piano import rendered_pieces
from seqsuite.tasks.sources.samples import require_samples
from seqsuite.tasks.windows import Streams, WindowTask, bits_metrics, split_streams


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
        carry_state: Whether pieces are read in order, in lanes, with the model's state carried over.
        lanes: How many lanes then; the same as ``train.batch_size``.

    Raises:
        UserError: if the data is missing, unreadable, not audio, or too short.
    """

    name = "piano"
    vocab_size = audio.LEVELS
    unit = "sample"
    units = "samples"
    metrics = bits_metrics("sample")
    codec = AudioCodec()
    prompt_length = audio.SAMPLE_RATE // 4

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 1024,
        path: UserPath | None = None,
        eval_examples: PositiveInt = 256,
        carry_state: bool = False,
        lanes: PositiveInt = 32,
    ) -> None:
        super().__init__(
            seed=seed,
            seqlen=seqlen,
            path=path,
            eval_examples=eval_examples,
            carry_state=carry_state,
            lanes=lanes,
        )
        self._files = find_files(path, audio.SUFFIXES, "audio") if path is not None else None
        if self._files is None:
            require_samples("piano")

    def load_streams(self) -> Streams:
        """Read the rendered pieces, or the user's files."""
        if self._files is not None:
            return split_streams({str(file): audio.read_audio(file) for file in self._files})
        pieces = rendered_pieces()
        return {split: [audio.read_audio(file) for file in pieces[split]] for split in SPLITS}

"""Piano audio, sample by sample: predict the next one."""

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS
from seqsuite.tasks.codecs.audio import AudioCodec
from seqsuite.tasks.prepare.recordings import check_recordings, read_recordings
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.audio_splits import SplitRule
from seqsuite.tasks.sources.files import OnBadFile
from seqsuite.tasks.sources.quantization import Quantization, QuantizationName
from seqsuite.tasks.sources.rendered_piano import rendered_pieces
from seqsuite.tasks.sources.samples import require_samples
from seqsuite.tasks.windows import Streams, WindowTask, bits_metrics

_PROMPT_SECONDS = 0.25


class Piano(WindowTask):
    """Language modelling on raw audio, by default of eight piano pieces rendered from scores.

    A token is one sample: 16 kHz, mono, 8-bit mu-law at a fixed scale, so that silence is always 128 and
    loudness is kept. The metric is bits per sample; such a sample is one byte, so this is what the paper
    calls bits per byte. With ``quantization=linear8`` a token is a linear step of 8 bits; with ``linear16`` a
    sample is two tokens, its upper byte and then its lower one, of a vocabulary of 512.

    The default data is 8.5 minutes of *rendered*, not recorded, music, made on first use (about 10 s) and
    cached: scores by Chopin, Joplin, Mozart, Clara Schumann and C. P. E. Bach, played by a sampled grand
    piano. Whole pieces are held out. With ``path``, MAESTRO and YouTubeMix have their official splits. Of
    other recordings, ten or more files are held out whole (in order of name the ninth of ten is validation,
    the tenth test), and fewer are each cut by position, 80 % / 10 % / 10 %. Passages of one recording that
    are in two splits are named.

    Args:
        seed: Seed of the training windows; the splits are fixed.
        seqlen: Length of a window in tokens.
        path: An audio file (WAV, FLAC, OGG, MP3 …), or a folder of them, instead of the default data.
        splits: Which are held out: ``youtubemix`` and ``maestro`` are official splits, ``own`` the rule for
            any files; ``auto`` takes MAESTRO's where its table is, and YouTubeMix's of its 241 clips.
        quantization: ``mu-law``, ``linear8`` or ``linear16``.
        on_bad_file: What to do about a file that cannot be used.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.
        carry_state: Whether pieces are read in order, in lanes, with the model's state carried over.
        lanes: How many lanes then; the same as ``train.batch_size``.

    Raises:
        UserError: if the data is missing, unreadable, not audio, or too short.
    """

    name = "piano"
    unit = "sample"
    metrics = bits_metrics("sample")

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 1024,
        path: UserPath | None = None,
        splits: SplitRule = "auto",
        quantization: QuantizationName = "mu-law",
        on_bad_file: OnBadFile = "refuse",
        eval_examples: PositiveInt = 256,
        carry_state: bool = False,
        lanes: PositiveInt = 32,
    ) -> None:
        self._quantization = Quantization(quantization)
        self.vocab_size = self._quantization.vocab_size
        self.units = "samples" if self._quantization.tokens_per_sample == 1 else "bytes of samples"
        super().__init__(
            seed=seed,
            seqlen=seqlen,
            path=path,
            eval_examples=eval_examples,
            carry_state=carry_state,
            lanes=lanes,
        )
        self.codec = AudioCodec(self._quantization)
        self.prompt_length = round(_PROMPT_SECONDS * audio.SAMPLE_RATE) * self._quantization.tokens_per_sample
        self._splits, self._on_bad_file = splits, on_bad_file
        if path is None:
            require_samples("piano")
            if splits != "auto":
                raise UserError("task.splits is of the recordings at task.path: give that, or leave it out.")
        else:
            check_recordings(path, splits)

    @property
    def token_units(self) -> npt.NDArray[np.float64] | None:
        """How many samples each token stands for (V,): half a one of sixteen bits."""
        if self._quantization.tokens_per_sample == 1:
            return None
        return np.full(self.vocab_size, 1 / self._quantization.tokens_per_sample)

    def load_streams(self) -> Streams:
        """Read the rendered pieces, or the user's files."""
        if self.path is not None:
            read = read_recordings(self.path, self._splits, self._quantization, self._on_bad_file)
            return {split: list(read[split].values()) for split in SPLITS}
        pieces = rendered_pieces()
        return {
            split: [audio.read_audio(file, self._quantization) for file in pieces[split]] for split in SPLITS
        }

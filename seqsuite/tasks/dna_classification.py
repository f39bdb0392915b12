"""DNA classification: the class of a sequence, such as promoter or not."""

import hashlib
import logging
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS, Array, Baseline, EvalSet, ModelIO, Split
from seqsuite.tasks.prepare.recipes import data_root
from seqsuite.tasks.random import below, row_words
from seqsuite.tasks.rows import RowTask
from seqsuite.tasks.sources.cpg_islands import CLASSES, cpg_islands
from seqsuite.tasks.sources.fasta import ALPHABET, Record, reverse_complement
from seqsuite.tasks.sources.labelled_dna import Labelled, LabelledDNA, find_labelled

log = logging.getLogger(__name__)

Dataset = Literal[
    "demo_coding_vs_intergenomic_seqs",
    "demo_human_or_worm",
    "dummy_mouse_enhancers_ensembl",
    "human_enhancers_cohn",
    "human_enhancers_ensembl",
    "human_ensembl_regulatory",
    "human_nontata_promoters",
    "human_ocr_ensembl",
]
"""The eight sets of Genomic Benchmarks."""

_RECIPE, _VERSION = "genomic_benchmarks", 0
_CLASS = "class_"
_HELD_OUT = 10
"""One of so many training sequences is validation, where a set has no validation of its own."""


class _Sequences(NamedTuple):
    """A split's sequences (L,) and their classes (S,)."""

    bases: list[Record]
    labels: npt.NDArray[np.int64]


class DNAClassification(RowTask):
    """DNA classification: of which class is a sequence? It is read from the last base.

    The default data is *synthetic*: CpG islands and what is around them, which differ in which base follows
    which. ``dataset`` names a set of Genomic Benchmarks that was fetched (`seqsuite data fetch
    genomic_benchmarks`). ``path`` is a folder in one of the layouts of such sets: ``train`` and ``test``,
    each with a folder of text or FASTA a class, or with a table of intervals a class (and ``genome``); or
    tables ``train`` and ``test`` with the columns ``seq`` (or ``sequence``) and ``label``, as CSV or Parquet.

    The test split is the set's own. Where it has no validation split, a tenth of the training sequences is
    held out by a hash of what they are, so that equal ones are on one side. Training rows are drawn
    uniformly. Accuracy is also told by class (``test/class_promoter/accuracy``), and a finished model has its
    confusion matrix as a picture.

    Args:
        seed: Seed of the training rows; splits and evaluation rows are fixed.
        seqlen: Longest sequence in bases; of longer ones the middle is read.
        path: A folder of labelled sequences, or a zip archive of it, instead of the synthetic ones.
        dataset: A set of Genomic Benchmarks that was fetched, instead.
        genome: FASTA of what intervals are of: a file, or a folder with one a class.
        reverse_complement: Whether half of the training sequences, at random, are read from the other strand.
        eval_examples: At most this many sequences of a split, evenly spaced, are scored; by default all.

    Raises:
        UserError: if the data is missing, unreadable or not DNA, or has fewer than two classes.
    """

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 512,
        path: UserPath | None = None,
        dataset: Dataset | None = None,
        genome: UserPath | None = None,
        reverse_complement: bool = True,
        eval_examples: PositiveInt | None = None,
    ) -> None:
        super().__init__(seed=seed)
        if path is not None and dataset is not None:
            raise UserError("Give task.path or task.dataset, not both.")
        self.path = _fetched(dataset) if dataset is not None else path
        self.seqlen, self.reverse_complement, self.eval_examples = seqlen, reverse_complement, eval_examples
        self._source: LabelledDNA | None = None if self.path is None else find_labelled(self.path, genome)
        self.class_names = CLASSES if self._source is None else self._source.class_names
        self.io = ModelIO(seqlen=seqlen, vocab_size=len(ALPHABET), n_classes=len(self.class_names))
        self._places: dict[tuple[Split, str], npt.NDArray[np.int64]] = {}

    def row(self, split: Split, row: int) -> tuple[Array, np.int64]:
        """Return a training sequence, drawn uniformly, half of the time from the other strand."""
        ((which, strand),) = row_words(self.seed, split, range(row, row + 1), 2)
        sequences = self._data[split]
        chosen = int(below(which, len(sequences.bases)))
        bases = sequences.bases[chosen]
        if self.reverse_complement and int(strand) >> 63:
            bases = reverse_complement(bases)
        return bases, sequences.labels[chosen]

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return all classes together; of the test also each alone."""
        names = ("all", *(_CLASS + name for name in self.class_names if split == "test"))
        sets = (EvalSet(split, name, len(self._scored(split, name)), self.seqlen) for name in names)
        return tuple(which for which in sets if which.rows)

    def eval_row(self, which: EvalSet, row: int) -> tuple[Array, np.int64]:
        """Return one sequence of an evaluation set."""
        chosen = int(self._scored(which.split, which.name)[row])
        sequences = self._data[which.split]
        return sequences.bases[chosen], sequences.labels[chosen]

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy, in percent, of always naming the class that training has most of."""
        most = np.bincount(self._data["train"].labels).argmax()
        scored = self._data[which.split].labels[self._scored(which.split, which.name)]
        return (Baseline("most frequent", 100.0 * float((scored == most).mean())),)

    def fingerprint(self) -> str:
        """Return a hash of all sequences, their class and their split."""
        return self._fingerprint

    def describe(self) -> str:
        """Return where the sequences are from and how many of each class every split has."""
        where = "synthetic CpG islands" if self.path is None else self.path
        told = [f"{split} {len(self._data[split].bases):,}" for split in SPLITS]
        return f"{where}: {', '.join(told)} sequences; classes {', '.join(self.class_names)}"

    def _scored(self, split: Split, name: str) -> npt.NDArray[np.int64]:
        """Return which sequences of a split are in an evaluation set."""
        if (split, name) not in self._places:
            labels = self._data[split].labels
            count = len(labels)
            places = np.linspace(0, count - 1, min(count, self.eval_examples or count)).round().astype(int)
            if name.startswith(_CLASS):
                number = self.class_names.index(name.removeprefix(_CLASS))
                places = places[labels[places] == number]
            self._places[split, name] = places
        return self._places[split, name]

    @cached_property
    def _data(self) -> dict[Split, _Sequences]:
        if self._source is None:
            made = cpg_islands(min(self.seqlen, 256))
            found = {split: [Labelled(*each) for each in made[split]] for split in SPLITS}
        else:
            found = self._source.read()
        if "validation" not in found:
            found["validation"] = [each for each in found["train"] if _is_held_out(each.bases)]
            found["train"] = [each for each in found["train"] if not _is_held_out(each.bases)]
        numbers = {name: number for number, name in enumerate(self.class_names)}
        data: dict[Split, _Sequences] = {}
        for split in SPLITS:
            kept = [each for each in found[split] if len(each.bases)]
            if not kept:
                raise UserError(f"{self.path} has too few sequences: none is left for its {split} split.")
            labels = np.array([numbers[each.label] for each in kept], dtype=np.int64)
            data[split] = _Sequences([self._middle(each.bases) for each in kept], labels)
        self._tell(found)
        return data

    def _middle(self, bases: Record) -> Record:
        start = max(len(bases) - self.seqlen, 0) // 2
        return bases[start : start + self.seqlen]

    def _tell(self, found: dict[Split, list[Labelled]]) -> None:
        """Say what of the sequences a reader of the numbers must know."""
        everything = [each.bases for split in SPLITS for each in found[split]]
        longer = sum(len(bases) > self.seqlen for bases in everything)
        if longer:
            log.info(
                "%d of %d sequences have more than task.seqlen=%d bases: of them the middle is read",
                *(longer, len(everything), self.seqlen),
            )
        learned = {each.bases.tobytes() for each in (*found["train"], *found["validation"])}
        known = sum(each.bases.tobytes() in learned for each in found["test"])
        if known:
            count = len(found["test"])
            log.warning("%d of %d test sequences are in training or validation too", known, count)

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for split in SPLITS:
            for bases, label in zip(*self._data[split], strict=True):
                digest.update(f"{split} {self.class_names[label]} {len(bases)}\n".encode())
                digest.update(np.ascontiguousarray(bases).data)
        return digest.hexdigest()


def _fetched(dataset: str) -> UserPath:
    """Return where a set of Genomic Benchmarks lies.

    Raises:
        UserError: if it was not fetched.
    """
    file = data_root() / _RECIPE / f"{dataset}_v{_VERSION}.zip"
    if not file.is_file():
        raise UserError(
            f"task.dataset={dataset} is not here: run `seqsuite data fetch {_RECIPE}`, or give your own copy "
            "by task.path=FOLDER."
        )
    return file


def _is_held_out(bases: Record) -> bool:
    return hashlib.blake2b(bases.tobytes(), digest_size=4).digest()[0] % _HELD_OUT == 0

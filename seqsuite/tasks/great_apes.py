"""Great apes: which species is a stretch of DNA from?"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.options import Fraction, PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS, Baseline, Batch, EvalSet, ModelIO, Split, Task
from seqsuite.tasks.gaps import gap_baseline, gap_rates
from seqsuite.tasks.kmers import Floats, kmer_baseline, log_frequencies
from seqsuite.tasks.matched import WORDS, MatchedPlaces
from seqsuite.tasks.random import Words, below, row_words
from seqsuite.tasks.sources.duplicates import content_hash
from seqsuite.tasks.sources.fasta import ALPHABET, SUFFIXES, N, Record
from seqsuite.tasks.sources.files import find_files
from seqsuite.tasks.sources.genomes import records_of, without_gaps
from seqsuite.tasks.sources.maf import SUFFIXES as ALIGNMENTS
from seqsuite.tasks.sources.maf import aligned_stretches, example_alignment, species_in
from seqsuite.tasks.sources.targets import Runs, known_runs
from seqsuite.tasks.windows import split_by_position

Chromosomes = Mapping[str, list[Record]]
"""Stretches of each chromosome."""

_EVAL_SEED = 0
_TRIES = 16
_KNOWN = 0.5  # share of a segment that is known at least
_LENGTH, _SPECIES = "length_", "species_"


class _Places(NamedTuple):
    """Where segments of one length may lie in a chromosome: stretches, and how many starts each has."""

    stretches: list[Record]
    runs: list[Runs]
    ends: npt.NDArray[np.int64]


class GreatApes(Task):
    """Great apes: the species of a stretch of DNA, read from the last token.

    A row draws a species, one of its chromosomes and a segment of it, each uniformly; at least half of a
    segment's bases are known. Evaluation rows are the same for every seed, and have each species equally
    often. Accuracy is also told by species (``test/species_gorilla/accuracy``) and, with ``longest``, by
    length (``test/length_4096/accuracy``); a finished model has its confusion matrix as a picture.

    The default data is chromosome 22 of human, chimpanzee, gorilla and orangutan, 21.6 million bases each,
    from the alignment in Debian's package ``maffilter-examples``. Alignment blocks are split in order, 80 %
    train, 10 % validation, 10 % test, so that a stretch of the genome is in one split for all species. FASTA
    records are cut by position at the same shares.

    Args:
        seed: Seed of the training rows; splits and evaluation rows are fixed.
        seqlen: Length of a segment in bases.
        path: A folder with one FASTA file or folder of them a species, or an alignment in MAF.
        longest: Longest segments to evaluate: at four times ``seqlen``, sixteen times … up to this; or none.
        eval_examples: Rows of the first evaluation set, and of each length; a species has its share.
        matched: Whether training rows show the same places of an alignment in all species, one after
            another, so that what a place has of its own cancels where a batch has whole places: as many
            rows as species, or a multiple. Evaluation rows stay independent.
        near_gaps: With ``matched``, the share of training places that are drawn around a gap, a run of
            unknown letters, of a length that not all species have as often in that stretch of the
            alignment. Evaluation rows are drawn as ever.

    Raises:
        UserError: if the data is missing, unreadable, not DNA, or has no segment of a length; if ``matched``
            is asked of FASTA files, or ``near_gaps`` without ``matched``.
    """

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 1024,
        path: UserPath | None = None,
        longest: PositiveInt | None = None,
        eval_examples: PositiveInt = 512,
        matched: bool = False,
        near_gaps: Fraction = 0.0,
    ) -> None:
        super().__init__(seed=seed)
        self.path, self.seqlen = path, seqlen
        self.eval_examples = eval_examples
        self.eval_lengths = tuple(_fourfold(seqlen, longest or seqlen))
        self._alignment = _alignment(path)
        self._check_matched(matched, near_gaps)
        self.matched, self.near_gaps = matched, near_gaps
        self._files = None if self._alignment is not None or path is None else _files_by_species(path)
        names = self._files if self._alignment is None else species_in(self._alignment)
        self.class_names = tuple(sorted(names or ()))
        if len(self.class_names) < 2:
            raise UserError(f"{path} has one species only: give two or more to tell apart.")
        self.io = ModelIO(
            seqlen=seqlen,
            vocab_size=len(ALPHABET),
            n_classes=len(self.class_names),
            eval_seqlen=max((seqlen, *self.eval_lengths)),
        )
        self._places: dict[tuple[Split, int, int], list[_Places]] = {}

    def _check_matched(self, matched: bool, near_gaps: float) -> None:
        if matched and self._alignment is None:
            raise UserError("task.matched=true needs an alignment: give one in MAF by task.path=FILE.maf.")
        if near_gaps and not matched:
            raise UserError(f"task.near_gaps={near_gaps} is for task.matched=true: give both or neither.")

    def train_batch(self, rows: range) -> Batch:
        """Return random segments of random species, or random places of one species after another."""
        if self.matched:
            return self._matched_batch(rows)
        words = row_words(self.seed, "train", rows, 2 + 2 * _TRIES)
        species = below(words[:, 0], len(self.class_names))
        return self._batch("train", self.seqlen, species, words)

    def _matched_batch(self, rows: range) -> Batch:
        """Return rows of one species after another, at one place before the next."""
        count = len(self.class_names)
        places = range(rows.start // count, -(-rows.stop // count))
        words = row_words(self.seed, "train", places, WORDS)
        segments = np.concatenate([self._matched_places.cut(word) for word in words])
        first = places.start * count
        inputs = segments[rows.start - first : rows.stop - first]
        return Batch(inputs.astype(np.int64), np.arange(rows.start, rows.stop) % count)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return all species together; of the test also by species and by length."""
        count = self.eval_examples
        first = EvalSet(split, "all", count, self.seqlen)
        if split != "test":
            return (first,)
        share = max(count // len(self.class_names), 1)
        return (
            first,
            *(EvalSet(split, _SPECIES + name, share, self.seqlen) for name in self.class_names),
            *(EvalSet(split, f"{_LENGTH}{length}", count, length) for length in self.eval_lengths),
        )

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return rows of an evaluation set; those of a species are the first set's of that species."""
        count = len(self.class_names)
        if which.name.startswith(_SPECIES):
            number = self.class_names.index(which.name.removeprefix(_SPECIES))
            chosen = np.arange(rows.start, rows.stop) * count + number
        else:
            chosen = np.arange(rows.start, rows.stop)
        every = row_words(_EVAL_SEED, which.split, range(int(chosen[0]), int(chosen[-1]) + 1), 2 + 2 * _TRIES)
        return self._batch(which.split, which.seqlen, chosen % count, every[chosen - chosen[0]])

    def fingerprint(self) -> str:
        """Return a hash of all stretches, their species and their split."""
        return self._fingerprint

    def describe(self) -> str:
        """Return where the data comes from and how many bases of each species there are."""
        where = "chromosome 22 of the alignment in maffilter-examples" if self.path is None else self.path
        sizes = {
            name: sum(len(part) for split in SPLITS for part in _all(self._data[split], name))
            for name in self.class_names
        }
        told = ", ".join(f"{name} {size:,} bases" for name, size in sizes.items())
        return f"{where}: {told}"

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return chance, and what short words and the assemblies' gaps say, counted in all training data."""
        words = kmer_baseline(self, which, frequencies=self._word_frequencies)
        gaps = gap_baseline(self, which, self._gap_rates, N)
        return (Baseline("chance", 100 / len(self.class_names)), words, gaps)

    @cached_property
    def _word_frequencies(self) -> Floats:
        """Those in all training data, which are counted once for all evaluation sets."""
        return log_frequencies(self.stretches("train"))

    @cached_property
    def _gap_rates(self) -> Floats:
        return gap_rates(self.stretches("train"), N)

    @cached_property
    def _matched_places(self) -> MatchedPlaces:
        return MatchedPlaces(self.stretches("train"), self.seqlen, self.near_gaps)

    def stretches(self, split: Split) -> list[list[Record]]:
        """Return the stretches that segments of a split are cut from, by species, in order of their names."""
        return [_all(self._data[split], name) for name in self.class_names]

    @cached_property
    def _data(self) -> dict[Split, dict[str, Chromosomes]]:
        data: dict[Split, dict[str, Chromosomes]] = {split: {} for split in SPLITS}
        if self._alignment is not None:
            for split, by_species in aligned_stretches(self._alignment).items():
                data[split] = {name: {"aligned": parts} for name, parts in by_species.items()}
            return data
        for name, files in (self._files or {}).items():
            records = [record for file in files for record in records_of(file)]
            for split in SPLITS:
                data[split][name] = {
                    str(number): [without_gaps(split_by_position(record)[split].astype(np.uint8, copy=False))]
                    for number, record in enumerate(records)
                }
        return data

    @cached_property
    def _fingerprint(self) -> str:
        digests = [
            f"{split} {name} {content_hash(stretch)}"
            for split in SPLITS
            for name in self.class_names
            for stretch in _all(self._data[split], name)
        ]
        return content_hash("\n".join(digests).encode())[:16]

    def _batch(self, split: Split, length: int, species: npt.NDArray[np.int64], words: Words) -> Batch:
        inputs = np.stack(
            [
                self._segment(split, length, number, word)
                for number, word in zip(species.tolist(), words, strict=True)
            ]
        )
        return Batch(inputs, species)

    def _segment(self, split: Split, length: int, species: int, words: Words) -> npt.NDArray[np.int64]:
        """Return a segment (length,) from random words (2 + 2 · tries,): the first that is known enough."""
        chromosomes = self._chromosomes(split, length, species)
        places = chromosomes[int(below(words[1:2], len(chromosomes))[0])]
        starts = below(words[2:], int(places.ends[-1]))
        numbers = np.searchsorted(places.ends, starts, side="right")
        best, most = None, -1
        for number, start in zip(numbers.tolist(), starts.tolist(), strict=True):
            stretch = places.stretches[number]
            first = start - (int(places.ends[number]) - (len(stretch) - length + 1))
            known = _known(places.runs[number], first, length)
            if known > most:
                best, most = stretch[first : first + length], known
            if known >= _KNOWN * length:
                break
        assert best is not None
        if most < _KNOWN * length:
            best = self._first_known(places, length)
        return best.astype(np.int64)

    def _chromosomes(self, split: Split, length: int, species: int) -> list[_Places]:
        """Return the chromosomes of a species that have a segment which is known enough."""
        key = (split, length, species)
        if key not in self._places:
            found = []
            name = self.class_names[species]
            for parts in self._data[split].get(name, {}).values():
                stretches = [part for part in parts if len(part) >= length]
                if stretches:
                    ends = np.cumsum([len(stretch) - length + 1 for stretch in stretches])
                    places = _Places(stretches, [known_runs(stretch, N) for stretch in stretches], ends)
                    if len(self._first_known(places, length)):
                        found.append(places)
            if not found:
                raise UserError(
                    f"The {split} data of {name} has no segment of {length} bases, half of them known: "
                    "choose a smaller task.seqlen or task.longest."
                )
            self._places[key] = found
        return self._places[key]

    @staticmethod
    def _first_known(places: _Places, length: int) -> Record:
        """Return the first of a chromosome's tiles that is known enough; empty if there is none."""
        for stretch, runs in zip(places.stretches, places.runs, strict=True):
            starts = np.arange(0, len(stretch) - length + 1, max(length // 4, 1))
            enough = np.flatnonzero(runs.known_in(starts, starts + length) >= _KNOWN * length)
            if len(enough):
                first = int(starts[enough[0]])
                return stretch[first : first + length]
        return np.zeros(0, np.uint8)


def _fourfold(seqlen: int, longest: int) -> Iterator[int]:
    """Yield four times ``seqlen``, sixteen times and so on, up to ``longest``."""
    length = 4 * seqlen
    while length <= longest:
        yield length
        length *= 4


def _known(runs: Runs, start: int, length: int) -> int:
    return int(runs.known_in(np.array([start]), np.array([start + length]))[0])


def _all(by_species: Mapping[str, Chromosomes], name: str) -> list[Record]:
    return [stretch for stretches in by_species.get(name, {}).values() for stretch in stretches]


def _alignment(path: Path | None) -> Path | None:
    """Return the alignment to read, or ``None`` for FASTA files.

    Raises:
        UserError: if there is neither a path nor the default alignment.
    """
    if path is not None:
        return path if path.is_file() and path.name.lower().endswith(ALIGNMENTS) else None
    file = example_alignment()
    if file is None:
        raise UserError(
            "The task 'great_apes' reads an alignment that comes with Debian's package maffilter-examples, "
            "which is not installed: run apt install maffilter-examples, or give a folder with the FASTA of "
            "each species by task.path=FOLDER."
        )
    return file


def _files_by_species(path: Path) -> dict[str, list[Path]]:
    """Return the FASTA files of each species: a file, or a folder of them, is called after it."""
    files = find_files(path, SUFFIXES, "FASTA")
    found: dict[str, list[Path]] = {}
    for file in files:
        first = file.relative_to(path).parts[0] if file != path else file.name
        found.setdefault(first.partition(".")[0], []).append(file)
    return found

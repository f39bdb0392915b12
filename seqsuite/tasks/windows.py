"""What the next-token tasks share: fixed-length windows over streams of tokens, split once and for all."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.base import (
    ACCURACY,
    IGNORE,
    SPLITS,
    Baseline,
    Batch,
    EvalSet,
    Metric,
    ModelIO,
    Split,
    Task,
    bits_per,
)
from seqsuite.tasks.baselines import token_baselines
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.lanes import Lanes
from seqsuite.tasks.packing import Packing
from seqsuite.tasks.random import row_words
from seqsuite.tasks.sampling import Sampler, Window, tiles
from seqsuite.tasks.sources.samples import SAMPLE_DISTRIBUTIONS
from seqsuite.tasks.sources.targets import Runs, has_target, known_runs

Stream = npt.NDArray[np.unsignedinteger[Any]]
"""Tokens of one record, document or piece: a window never runs from one stream into another. It may be
memory-mapped: only what windows are cut from is read."""

Streams = dict[Split, list[Stream]]

TRAIN_FRACTION, VALIDATION_FRACTION = 0.8, 0.1
WHOLE_STREAMS_FROM = 10
"""From this many streams on, :func:`split_streams` holds out whole ones."""


def split_by_position(stream: Stream) -> dict[Split, Stream]:
    """Cut a stream in order: its first 80 % train, the next 10 % validation, the rest test."""
    first = int(len(stream) * TRAIN_FRACTION)
    second = int(len(stream) * (TRAIN_FRACTION + VALIDATION_FRACTION))
    return {"train": stream[:first], "validation": stream[first:second], "test": stream[second:]}


def split_of(position: int) -> Split:
    """Return the split of one of ten or more streams that are held out whole, by its place in their order."""
    held_out: dict[int, Split] = {8: "validation", 9: "test"}
    return held_out.get(position % 10, "train")


def split_named(streams: Mapping[str, Stream]) -> dict[Split, dict[str, Stream]]:
    """Split a user's files by a rule that depends on nothing but their names and lengths.

    Ten or more: in order of name, every ninth of ten is validation, every tenth test, whole. Fewer: each is
    cut by position (:func:`split_by_position`), and each split has a part under its name.
    """
    parts: dict[Split, dict[str, Stream]] = {split: {} for split in SPLITS}
    for position, name in enumerate(sorted(streams)):
        if len(streams) >= WHOLE_STREAMS_FROM:
            parts[split_of(position)][name] = streams[name]
        else:
            for split, part in split_by_position(streams[name]).items():
                parts[split][name] = part
    return parts


def split_streams(streams: Mapping[str, Stream]) -> Streams:
    """Return the streams of :func:`split_named` without their names."""
    return {split: list(parts.values()) for split, parts in split_named(streams).items()}


class WindowTask(Task):
    """Next-token prediction on windows of ``seqlen`` tokens and the same tokens shifted by one.

    Training windows start anywhere: each target position of the split is as likely to choose the stream, and
    the start is uniform among those whose window has a target. The windows of validation and test
    tile each stream from its beginning, so that every token but a stream's first is scored exactly once;
    ``eval_examples`` caps their number by taking evenly spaced ones. A window that its stream cannot fill is
    padded with targets of :data:`~seqsuite.tasks.base.IGNORE`.

    With ``carry_state`` the streams of each split are read in order instead, in ``lanes`` side by side
    (:class:`~seqsuite.tasks.lanes.Lanes`), and a model goes on from the state that the chunk before left.

    With ``packed`` windows are cut from all streams after one another and packed into one sequence, in which
    nothing leaks from one stream into the next (:class:`~seqsuite.tasks.packing.Packing`): no place is lost
    to padding where streams are short.

    With ``length_warmup`` training rows begin at ``warmup_from`` tokens and are twice as long after every so
    many rows, until they have ``seqlen``.

    A subclass gives :meth:`load_streams`, ``vocab_size``, ``unit`` and, where needed, :meth:`augment`,
    ``unscored_token``, ``prompt_length`` and ``units``.
    """

    name: ClassVar[str]
    """The task's name in the registry."""

    vocab_size: int
    """Number of token ids V."""

    unscored_token: ClassVar[int | None] = None
    """Token that is never a target, because it stands for the unknown."""

    prompt_length: int = 64
    """Length of :meth:`prompt` in tokens, if ``seqlen`` allows."""

    loss_by_position = True

    units: str = "tokens"
    """What the tokens are called in messages."""

    def __init__(
        self,
        *,
        seed: int,
        seqlen: int,
        path: Path | None,
        eval_examples: int,
        carry_state: bool = False,
        lanes: int = 32,
        packed: bool = False,
        length_warmup: int | None = None,
        warmup_from: int = 256,
    ) -> None:
        super().__init__(seed=seed)
        if carry_state and (packed or length_warmup):
            raise UserError(
                "task.carry_state reads streams in order: it goes neither with task.packed nor with "
                "task.length_warmup."
            )
        self.path = path
        self.seqlen = seqlen
        self.eval_examples = eval_examples
        self.carry_state, self.lanes, self.packed = carry_state, lanes, packed
        self.length_warmup, self.warmup_from = length_warmup, warmup_from
        self.io = ModelIO(seqlen=seqlen, vocab_size=self.vocab_size, lanes=lanes if carry_state else None)
        self._windows: dict[Split, list[Window]] = {}
        self._runs: dict[Split, list[Runs]] = {}
        self._lanes: dict[Split, Lanes] = {}
        self._packings: dict[Split, Packing] = {}
        self._samplers: dict[int, Sampler] = {}
        self._baselines: dict[Split, tuple[Baseline, ...]] = {}

    @abstractmethod
    def load_streams(self) -> Streams:
        """Read the data and return each split's streams; called once, on first use.

        Raises:
            UserError: if the data cannot be read.
        """

    def augment(self, window: Stream, word: np.uint64) -> Stream:
        """Return a training window as it is; a subclass may change it as a random word says."""
        return window

    @cached_property
    def streams(self) -> Streams:
        """Each split's streams that have at least one target, read on first use.

        Raises:
            UserError: if the data cannot be read, or is too short for ``seqlen`` or for one of the splits.
        """
        streams = {split: self._with_targets(split, parts) for split, parts in self.load_streams().items()}
        for split in SPLITS:
            if not streams[split]:
                raise UserError(
                    f"{self.path or 'The sample'} is too short: nothing is left for its {split} split; "
                    "give more data."
                )
        longest = max(len(stream) for stream in streams["train"])
        if longest <= self.seqlen and not self.carry_state and not self.packed:
            raise UserError(
                f"task.seqlen={self.seqlen} is too long: the longest stretch of training data has {longest} "
                f"{self.units}; choose at most {longest - 1}."
            )
        return streams

    def fingerprint(self) -> str:
        """Return a hash of the streams of all splits; of the sample, its packages' versions."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        if self._is_packaged():
            for package in SAMPLE_DISTRIBUTIONS[self.name]:
                digest.update(f"{package}=={metadata.version(package)}\n".encode())
            return digest.hexdigest()
        for split in SPLITS:
            for stream in self.streams[split]:
                digest.update(f"{split} {len(stream)}\n".encode())
                digest.update(np.ascontiguousarray(stream).data)
        return digest.hexdigest()

    def describe(self) -> str:
        """Return how much there is of each split, and what share of it is never a target."""
        tokens = {split: sum(len(stream) for stream in self.streams[split]) for split in SPLITS}
        parts = [f"{split} {count:,} {self.units}" for split, count in tokens.items()]
        streams = sum(len(self.streams[split]) for split in SPLITS)
        text = f"{self.origin()}: {streams} stretches; {', '.join(parts)}"
        if self.unscored_token is None:
            return text
        known = sum(int((runs.ends - runs.starts).sum()) for split in SPLITS for runs in self._runs[split])
        return f"{text}; {100 * (1 - known / sum(tokens.values())):.2g} % unknown"

    def origin(self) -> str:
        """Return in a few words where the data comes from."""
        return "the sample" if self.path is None else str(self.path)

    def _is_packaged(self) -> bool:
        """Return whether the data is that of packages whose versions say what it is."""
        return self.path is None

    def train_batch(self, rows: range) -> Batch:
        """Return random windows, or the next chunk of each lane."""
        if self.carry_state:
            windows, continues = self._lanes_of("train").windows(rows)
            return self._collate(windows, self.seqlen)._replace(continues=continues)
        words = row_words(self.seed, "train", rows, 3)
        if self.packed:
            return self._packing("train").draw(words, self._lengths(rows))
        lengths = self._lengths(rows)
        drawn = zip(self._drawn(words, lengths), words[:, -1], strict=True)
        return self._collate([self.augment(window, word) for window, word in drawn], int(lengths.max()))

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the one set of windows of ``split``."""
        if self.carry_state:
            chunks = min(self._lanes_of(split).chunks, -(-self.eval_examples // self.lanes))
            return (EvalSet(split, "all", chunks * self.lanes, self.seqlen, lanes=self.lanes),)
        if self.packed:
            rows = min(self._packing(split).tiles, self.eval_examples)
        else:
            rows = len(self._eval_windows(split))
        return (EvalSet(split, "all", rows, self.seqlen),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return a slice of the evaluation windows."""
        if self.carry_state:
            windows, continues = self._lanes_of(which.split).windows(rows)
            return self._collate(windows, self.seqlen)._replace(continues=continues)
        if self.packed:
            return self._packing(which.split).tile(rows, which.rows)
        return self._collate(self._eval_streams(which.split)[rows.start : rows.stop], self.seqlen)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return what frequencies, contexts and a compressor reach on the windows, in bits a unit.

        Frequencies and contexts are counted in the training data without augmentation.
        """
        if which.split not in self._baselines:
            scored = self._eval_streams(which.split)
            found = token_baselines(self.streams["train"], scored, self.vocab_size, self.unscored_token)
            units = self.token_units
            if units is not None:
                targets = np.concatenate([window[1:] for window in scored])
                scale = len(targets) / units[targets].sum()
                found = tuple(Baseline(baseline.name, baseline.value * scale) for baseline in found)
            self._baselines[which.split] = found
        return self._baselines[which.split]

    def prompt(self) -> TokenIds:
        """Return the beginning of the first test window that has a target."""
        length = min(self.prompt_length, self.seqlen)
        streams = self.streams["test"]
        stream, start = next(tiles(streams, self._runs["test"], length))
        return streams[stream][start : start + length].astype(np.int64)

    def _with_targets(self, split: Split, streams: Sequence[Stream]) -> list[Stream]:
        """Return the streams that have a target, and keep where their tokens are known."""
        if self.unscored_token is None:
            self._runs[split] = []
            return [stream for stream in streams if len(stream) > 1]
        runs = [known_runs(stream, self.unscored_token) for stream in streams]
        kept = [
            number
            for number, stream in enumerate(streams)
            if has_target(runs[number], np.array([0]), len(stream)).all()
        ]
        self._runs[split] = [runs[number] for number in kept]
        return [streams[number] for number in kept]

    def _lengths(self, rows: range) -> npt.NDArray[np.int64]:
        """Return how many inputs each training row has."""
        lengths = np.full(len(rows), self.seqlen)
        if self.length_warmup:
            stages = np.arange(rows.start, rows.stop) // self.length_warmup
            stages = np.minimum(stages, self.seqlen.bit_length())  # enough, and never beyond an int64
            lengths = np.minimum(lengths, self.warmup_from << stages)
        return lengths

    def _drawn(self, words: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int64]) -> list[Stream]:
        """Return a training window for each row of words (rows, 2 or more)."""
        streams = self.streams["train"]
        drawn: dict[int, Stream] = {}
        for length in np.unique(lengths).tolist():
            if length not in self._samplers:
                self._samplers[length] = Sampler(streams, self._runs["train"], length)
            places = np.flatnonzero(lengths == length)
            for place, window in zip(
                places.tolist(), self._samplers[length].draw(words[places]), strict=True
            ):
                drawn[place] = self._cut(streams, window, length)
        return [drawn[place] for place in range(len(lengths))]

    def _packing(self, split: Split) -> Packing:
        if split not in self._packings:
            self._packings[split] = Packing(self.streams[split], self.seqlen, self.unscored_token)
        return self._packings[split]

    def _lanes_of(self, split: Split) -> Lanes:
        if split not in self._lanes:
            self._lanes[split] = Lanes(self.streams[split], self.lanes, self.seqlen)
        return self._lanes[split]

    def _eval_windows(self, split: Split) -> list[Window]:
        if split not in self._windows:
            found = list(tiles(self.streams[split], self._runs[split], self.seqlen))
            count = min(self.eval_examples, len(found))
            self._windows[split] = [
                found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)
            ]
        return self._windows[split]

    def _eval_streams(self, split: Split) -> list[Stream]:
        return [self._cut(self.streams[split], window, self.seqlen) for window in self._eval_windows(split)]

    def _cut(self, streams: Sequence[Stream], window: Window, length: int) -> Stream:
        return streams[window.stream][window.start : window.start + length + 1]

    def _collate(self, windows: Sequence[Stream], width: int) -> Batch:
        inputs = np.zeros((len(windows), width), dtype=np.int64)
        targets = np.full_like(inputs, IGNORE)
        for row, window in enumerate(windows):
            inputs[row, : len(window) - 1] = window[:-1]
            targets[row, : len(window) - 1] = window[1:]
        if self.unscored_token is not None:
            targets[targets == self.unscored_token] = IGNORE
        return Batch(inputs, targets)


def bits_metrics(unit: str) -> tuple[Metric, ...]:
    """Return what is measured of next-token prediction: bits a ``unit``, accuracy and perplexity."""
    return bits_per(unit), ACCURACY, Metric("perplexity")

"""What the next-token tasks share: fixed-length windows over streams of tokens, split once and for all."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import ClassVar, NamedTuple

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
from seqsuite.tasks.random import below, row_words
from seqsuite.tasks.sources.samples import SAMPLE_DISTRIBUTIONS

Stream = npt.NDArray[np.uint8]
"""Tokens of one record, document or piece: a window never runs from one stream into another."""

Streams = dict[Split, list[Stream]]

TRAIN_FRACTION, VALIDATION_FRACTION = 0.8, 0.1
WHOLE_STREAMS_FROM = 10
"""From this many streams on, :func:`split_streams` holds out whole ones."""


def split_by_position(stream: Stream) -> dict[Split, Stream]:
    """Cut a stream in order: its first 80 % train, the next 10 % validation, the rest test."""
    first = int(len(stream) * TRAIN_FRACTION)
    second = int(len(stream) * (TRAIN_FRACTION + VALIDATION_FRACTION))
    return {"train": stream[:first], "validation": stream[first:second], "test": stream[second:]}


def split_streams(streams: Mapping[str, Stream]) -> Streams:
    """Split a user's files by a rule that depends on nothing but their names and lengths.

    Ten or more: in order of name, every ninth of ten is validation, every tenth test, whole. Fewer: each is
    cut by position (:func:`split_by_position`).
    """
    parts: Streams = {split: [] for split in SPLITS}
    ordered = [streams[name] for name in sorted(streams)]
    if len(ordered) >= WHOLE_STREAMS_FROM:
        held_out: dict[int, Split] = {8: "validation", 9: "test"}
        for position, stream in enumerate(ordered):
            parts[held_out.get(position % 10, "train")].append(stream)
    else:
        for stream in ordered:
            for split, part in split_by_position(stream).items():
                parts[split].append(part)
    return parts


class Window(NamedTuple):
    """Tokens ``start … start + seqlen`` of stream number ``stream``; the last one is only a target."""

    stream: int
    start: int


class WindowTask(Task):
    """Next-token prediction on windows of ``seqlen`` tokens and the same tokens shifted by one.

    Training windows start anywhere: each target position of the split is as likely to choose the stream, and
    the start is uniform in it; a window without a target is drawn again. The windows of validation and test
    tile each stream from its beginning, so that every token but a stream's first is scored exactly once;
    ``eval_examples`` caps their number by taking evenly spaced ones. A window that its stream cannot fill is
    padded with targets of :data:`~seqsuite.tasks.base.IGNORE`.

    With ``carry_state`` the streams of each split are read in order instead, in ``lanes`` side by side
    (:class:`~seqsuite.tasks.lanes.Lanes`), and a model goes on from the state that the chunk before left.

    A subclass gives :meth:`load_streams`, ``vocab_size``, ``unit`` and, where needed, :meth:`augment`,
    ``unscored_token``, ``prompt_length`` and ``units``.
    """

    name: ClassVar[str]
    """The task's name in the registry."""

    vocab_size: ClassVar[int]
    """Number of token ids V."""

    unscored_token: ClassVar[int | None] = None
    """Token that is never a target, because it stands for the unknown."""

    prompt_length: ClassVar[int] = 64
    """Length of :meth:`prompt` in tokens, if ``seqlen`` allows."""

    units: ClassVar[str] = "tokens"
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
    ) -> None:
        super().__init__(seed=seed)
        self.path = path
        self.seqlen = seqlen
        self.eval_examples = eval_examples
        self.carry_state, self.lanes = carry_state, lanes
        self.io = ModelIO(seqlen=seqlen, vocab_size=self.vocab_size, lanes=lanes if carry_state else None)
        self._windows: dict[Split, list[Window]] = {}
        self._lanes: dict[Split, Lanes] = {}
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
        streams: Streams = {
            split: [stream for stream in parts if self._has_target(stream)]
            for split, parts in self.load_streams().items()
        }
        for split in SPLITS:
            if not streams[split]:
                raise UserError(
                    f"{self.path or 'The sample'} is too short: nothing is left for its {split} split; "
                    "give more data."
                )
        longest = max(len(stream) for stream in streams["train"])
        if longest <= self.seqlen and not self.carry_state:
            raise UserError(
                f"task.seqlen={self.seqlen} is too long: the longest stretch of training data has {longest} "
                f"{self.units}; choose at most {longest - 1}."
            )
        return streams

    def fingerprint(self) -> str:
        """Return a hash of the streams of all splits; of the sample, its packages' versions."""
        digest = hashlib.blake2b(digest_size=8)
        if self.path is None:
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
        where = "the sample" if self.path is None else str(self.path)
        text = f"{where}: {streams} stretches; {', '.join(parts)}"
        if self.unscored_token is None:
            return text
        unknown = sum(
            int((stream == self.unscored_token).sum()) for split in SPLITS for stream in self.streams[split]
        )
        return f"{text}; {100 * unknown / sum(tokens.values()):.2g} % unknown"

    def train_batch(self, rows: range) -> Batch:
        """Return random windows, or the next chunk of each lane."""
        streams = self.streams["train"]
        if self.carry_state:
            windows, continues = self._lanes_of("train").windows(rows)
            return self._collate(windows)._replace(continues=continues)
        words = row_words(self.seed, "train", rows, 3)
        windows = [self._cut(streams, window) for window in self._draw(words)]
        for place, window in enumerate(windows):
            if not self._has_target(window):
                windows[place] = self._draw_again(rows[place])
        return self._collate(
            [self.augment(window, word) for window, word in zip(windows, words[:, 2], strict=True)]
        )

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the one set of windows of ``split``."""
        if self.carry_state:
            chunks = min(self._lanes_of(split).chunks, -(-self.eval_examples // self.lanes))
            return (EvalSet(split, "all", chunks * self.lanes, self.seqlen, lanes=self.lanes),)
        return (EvalSet(split, "all", len(self._eval_windows(split)), self.seqlen),)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return a slice of the evaluation windows."""
        if self.carry_state:
            windows, continues = self._lanes_of(which.split).windows(rows)
            return self._collate(windows)._replace(continues=continues)
        return self._collate(self._eval_streams(which.split)[rows.start : rows.stop])

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return what frequencies, contexts and a compressor reach on the windows, in bits a token.

        Frequencies and contexts are counted in the training data without augmentation.
        """
        if which.split not in self._baselines:
            scored = self._eval_streams(which.split)
            self._baselines[which.split] = token_baselines(
                self.streams["train"], scored, self.vocab_size, self.unscored_token
            )
        return self._baselines[which.split]

    def prompt(self) -> TokenIds:
        """Return the beginning of the first test window that has a target."""
        length = min(self.prompt_length, self.seqlen)
        for stream in self.streams["test"]:
            for start in range(0, len(stream) - 1, length):
                if self._has_target(stream[start : start + length + 1]):
                    return stream[start : start + length].astype(np.int64)
        raise AssertionError("every stream has a target")

    @cached_property
    def _train_targets(self) -> npt.NDArray[np.int64]:
        return np.array([len(stream) - 1 for stream in self.streams["train"]])

    def _draw(self, words: npt.NDArray[np.uint64]) -> list[Window]:
        """Return a window for each row of words (rows, 2 or more)."""
        ends = self._train_targets.cumsum()
        chosen = np.searchsorted(ends, below(words[:, 0], int(ends[-1])), side="right")
        last_start = np.maximum(self._train_targets[chosen] - self.seqlen, 0)
        starts = below(words[:, 1], last_start + 1)
        return list(map(Window, chosen.tolist(), starts.tolist()))

    def _draw_again(self, row: int) -> Stream:
        """Return a window with a target, from further words of the row."""
        tries = 1
        while True:
            tries *= 2
            words = row_words(self.seed, "train", range(row, row + 1), 3 + 2 * tries)[:, 3:].reshape(-1, 2)
            for window in self._draw(words):
                stream = self._cut(self.streams["train"], window)
                if self._has_target(stream):
                    return stream

    def _lanes_of(self, split: Split) -> Lanes:
        if split not in self._lanes:
            self._lanes[split] = Lanes(self.streams[split], self.lanes, self.seqlen)
        return self._lanes[split]

    def _eval_windows(self, split: Split) -> list[Window]:
        if split not in self._windows:
            tiles = [
                window
                for number, stream in enumerate(self.streams[split])
                for start in range(0, len(stream) - 1, self.seqlen)
                if self._has_target(self._cut(self.streams[split], window := Window(number, start)))
            ]
            count = min(self.eval_examples, len(tiles))
            self._windows[split] = [
                tiles[i] for i in np.linspace(0, len(tiles) - 1, count).round().astype(int)
            ]
        return self._windows[split]

    def _eval_streams(self, split: Split) -> list[Stream]:
        return [self._cut(self.streams[split], window) for window in self._eval_windows(split)]

    def _has_target(self, window: Stream) -> bool:
        if self.unscored_token is None:
            return len(window) > 1
        return bool((window[1:] != self.unscored_token).any())

    def _cut(self, streams: Sequence[Stream], window: Window) -> Stream:
        return streams[window.stream][window.start : window.start + self.seqlen + 1]

    def _collate(self, windows: Sequence[Stream]) -> Batch:
        inputs = np.zeros((len(windows), self.seqlen), dtype=np.int64)
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

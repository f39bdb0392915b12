"""What the next-token tasks share: fixed-length windows over streams of tokens, split once and for all."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, SPLITS, Batch, Split, Task, TokenIds, batch_rng

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
    the start is uniform in it. The windows of validation and test tile each stream from its beginning, so
    that every token but a stream's first is scored exactly once; ``eval_examples`` caps their number by
    taking evenly spaced ones. A window that its stream cannot fill is padded with targets of
    :data:`~seqsuite.tasks.base.IGNORE`.

    A subclass gives :meth:`load_streams` and, where needed, :meth:`augment`, ``unscored_token``,
    ``prompt_length`` and ``units``.
    """

    unscored_token: ClassVar[int | None] = None
    """Token that is never a target, because it stands for the unknown."""

    prompt_length: ClassVar[int] = 64
    """Length of :meth:`prompt` in tokens, if ``seqlen`` allows."""

    units: ClassVar[str] = "tokens"
    """What the tokens are called in messages."""

    def __init__(self, *, seed: int, seqlen: int, path: Path | None, eval_examples: int) -> None:
        super().__init__(seed=seed)
        self.path = path
        self.seqlen = seqlen
        self.eval_examples = eval_examples
        self._windows: dict[Split, list[Window]] = {}

    @abstractmethod
    def load_streams(self) -> Streams:
        """Read the data and return each split's streams; called once, on first use.

        Raises:
            UserError: if the data cannot be read.
        """

    def augment(self, window: Stream, rng: np.random.Generator) -> Stream:
        """Return a training window as it is; a subclass may change it at random."""
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
        if longest <= self.seqlen:
            raise UserError(
                f"task.seqlen={self.seqlen} is too long: the longest stretch of training data has {longest} "
                f"{self.units}; choose at most {longest - 1}."
            )
        return streams

    def num_train_windows(self) -> int:
        """Return the number of distinct training windows, before augmentation."""
        return sum(max(len(stream) - self.seqlen, 1) for stream in self.streams["train"])

    def batch(self, split: Split, index: int, batch_size: int) -> Batch:
        """Return random windows for training, or a slice of the evaluation windows."""
        streams = self.streams[split]
        if split == "train":
            rng = batch_rng(self.seed, split, index)
            windows = [self.augment(self._cut(streams, w), rng) for w in self._draw(rng, batch_size)]
        else:
            chosen = self._eval_windows(split)[index * batch_size : (index + 1) * batch_size]
            windows = [self._cut(streams, w) for w in chosen]
        return self._collate(windows)

    def num_eval_batches(self, split: Split, batch_size: int) -> int:
        """Return how many batches cover the evaluation windows of ``split``."""
        return -(-len(self._eval_windows(split)) // batch_size)

    def baseline(self, split: Split) -> tuple[str, float]:
        """Return the unigram baseline in bits: training frequencies, scored on the windows of ``split``.

        Frequencies are counted with one added to each (Laplace), without augmentation.
        """
        V = self.spec.vocab_size
        counts = np.ones(V)
        for stream in self.streams["train"]:
            counts += np.bincount(stream, minlength=V)
        scored = np.zeros(V)
        for window in self._eval_windows(split):
            scored += np.bincount(self._cut(self.streams[split], window)[1:], minlength=V)
        if self.unscored_token is not None:
            counts[self.unscored_token] = scored[self.unscored_token] = 0
        possible = counts > 0
        bits = -np.log2(counts[possible] / counts.sum())
        return "unigram", float(scored[possible] @ bits / scored.sum())

    def prompt(self) -> TokenIds:
        """Return the beginning of the first test stream."""
        return self.streams["test"][0][: min(self.prompt_length, self.seqlen)].astype(np.int64)

    @cached_property
    def _train_targets(self) -> npt.NDArray[np.int64]:
        return np.array([len(stream) - 1 for stream in self.streams["train"]])

    def _draw(self, rng: np.random.Generator, batch_size: int) -> Iterable[Window]:
        ends = self._train_targets.cumsum()
        chosen = np.searchsorted(ends, rng.integers(ends[-1], size=batch_size), side="right")
        last_start = np.maximum(self._train_targets[chosen] - self.seqlen, 0)
        starts = rng.integers(last_start, endpoint=True)
        return map(Window, chosen.tolist(), starts.tolist())

    def _eval_windows(self, split: Split) -> list[Window]:
        if split not in self._windows:
            tiles = [
                Window(number, start)
                for number, stream in enumerate(self.streams[split])
                for start in range(0, len(stream) - 1, self.seqlen)
            ]
            count = min(self.eval_examples, len(tiles))
            self._windows[split] = [
                tiles[i] for i in np.linspace(0, len(tiles) - 1, count).round().astype(int)
            ]
        return self._windows[split]

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

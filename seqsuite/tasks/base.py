"""The contract between a task and everything that trains, evaluates or shows it.

A task knows its data and nothing of models. It hands out NumPy arrays of token ids, says what they mean in
its :class:`TaskSpec`, and turns generated ids back into something a person can read or hear.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

IGNORE = -100
"""Target of a position that counts neither in the loss nor in a metric."""

TokenIds = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """Token ids ``inputs`` (B, L) and ``targets`` (B, L); a target of :data:`IGNORE` does not count."""

    inputs: TokenIds
    targets: TokenIds


@dataclass(frozen=True)
class PaperRow:
    """One published number to print beside ours: never a target.

    Attributes:
        model: The row's name in the paper.
        metric: What the number measures, in this suite's metric names.
        value: The published number, in the metric's unit.
        protocol: The budget it was reached with.
        source: Paper and table or figure.
    """

    model: str
    metric: str
    value: float
    protocol: str
    source: str


@dataclass(frozen=True)
class TaskSpec:
    """What a task feeds and expects; a model is built from it.

    Attributes:
        vocab_size: Number of token ids V; inputs and targets lie in ``0 … V - 1``.
        seqlen: Length L of the input sequences.
        unit: What one token is: ``"token"``, ``"byte"``, ``"base"`` or ``"sample"``.
        metric: The metric that ranks models: ``"accuracy"`` (fraction of counted targets, in percent) or
            ``"bits_per_<unit>"`` (cross-entropy in bits).
        higher_is_better: Direction of ``metric``.
        train_examples: Number of distinct training windows, or ``None`` if they are generated without end.
        sample_suffix: Suffix of the file that :meth:`Task.render` writes, such as ``".fasta"``; ``None``
            where continuing a prompt means nothing, so that no samples are generated.
        paper: Published numbers for this task.
    """

    vocab_size: int
    seqlen: int
    unit: Literal["token", "byte", "base", "sample"]
    metric: str
    higher_is_better: bool
    train_examples: int | None
    sample_suffix: str | None
    paper: tuple[PaperRow, ...] = ()


class Task(ABC):
    """Data for one experiment, split once and for all, and handed out by index.

    A subclass is one file and one line in the registry. Its constructor's keyword arguments, with their type
    annotations and defaults, are the options that users set as ``task.<option>=…``; ``seed`` is passed in by
    the suite. Construction must be cheap: read data on first use, so that listing and dry runs stay fast,
    but raise :class:`~seqsuite.errors.UserError` as early as bad input can be seen.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """What the task feeds and expects."""

    @abstractmethod
    def batch(self, split: Split, index: int, batch_size: int) -> Batch:
        """Return batch number ``index`` of ``split``: a pure function of (seed, split, index, batch_size).

        A resumed run asks for the index where it stopped, and ranks of a distributed run take indices in
        turn. The batches of ``"validation"`` and ``"test"`` are the same for every seed and every model where
        the data is fixed, and depend only on the seed where it is generated.
        """

    @abstractmethod
    def num_eval_batches(self, split: Split, batch_size: int) -> int:
        """Return how many batches cover the evaluation set of ``split`` (the last may be smaller)."""

    @abstractmethod
    def baseline(self, split: Split) -> tuple[str, float]:
        """Return the trivial baseline, as its name and its value in ``spec.metric`` on ``split``."""

    @abstractmethod
    def prompt(self) -> TokenIds:
        """Return a short prompt (L,) to start a generated sample from."""

    def encode(self, text: str) -> TokenIds:
        """Return the tokens (L,) of a prompt that a user wrote.

        Raises:
            UserError: if the task has no such letters.
        """
        raise UserError(f"The task {type(self).__name__} takes no prompt as text.")

    def read(self, path: Path) -> TokenIds:
        """Return the tokens (L,) of a prompt in a file of the task's own format, as :meth:`render` writes.

        Raises:
            UserError: if the file cannot be read, or the task has no such format.
        """
        raise UserError(f"The task {type(self).__name__} takes no prompt from a file.")

    @abstractmethod
    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        """Return tokens as text that a terminal can show."""

    @abstractmethod
    def render(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        """Write tokens to ``path`` in the task's own format (text, FASTA, WAV)."""


def batch_rng(seed: int, split: Split, index: int) -> np.random.Generator:
    """Return the generator for one batch: independent streams for each (seed, split, index)."""
    return np.random.default_rng([seed, SPLITS.index(split), index])

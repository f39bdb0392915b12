"""The contract between a task and everything that trains, evaluates or shows it.

A task knows its data and nothing of models. It hands out NumPy arrays by rows, says in its :class:`ModelIO`
what a model must take and give, and in its :class:`Metric` s what is measured; its codec turns tokens into
something a person can read or hear.

**A row of data is a pure function of (seed, split, row)**, see :mod:`seqsuite.tasks.random`: batch size,
gradient accumulation, ranks, workers and resumption never change what is trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.codecs.base import Codec, TokenIds

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

IGNORE = -100
"""Target of a position that counts neither in the loss nor in a metric."""

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """What a step is made of.

    Attributes:
        inputs: Token ids (B, L) int64, (1, L) if rows are packed; or numbers (B, L, C) float32, where the
            task's ``io.d_input`` is C.
        targets: Token ids or labels (B, L) with :data:`IGNORE` where a position does not count; or one class
            a sequence, (B,) or (S,) if packed; or numbers (B, L, K) float32, NaN where one does not count.
        lengths: True lengths (B,) where rows are padded on the right.
        cu_seqlens: Offsets (S + 1,) of S sequences packed along L.
        continues: Whether the batch goes on where the batch before ended: the model's state is carried in.
    """

    inputs: Array
    targets: Array
    lengths: Ints | None = None
    cu_seqlens: Ints | None = None
    continues: bool = False

    def counted(self) -> int:
        """Return how many targets count."""
        if self.targets.dtype.kind == "f":
            return int(np.isfinite(self.targets).sum())
        return int((self.targets != IGNORE).sum())


@dataclass(frozen=True)
class ModelIO:
    """What a model takes and gives for a task; it is known without reading data.

    Attributes:
        seqlen: Length L of training sequences; the longest, where they vary.
        vocab_size: Number of token ids V of the input, or ``None`` if it is numbers.
        d_input: Numbers C a position, where the input is numbers.
        eval_seqlen: Length of the longest sequence that is evaluated; ``None`` if not above ``seqlen``.
        n_labels: Labels a position, where they are not the token ids.
        n_classes: Classes of whole sequences, where a sequence has one target.
        d_target: Numbers a position to regress.
        lanes: Rows of a step, ``train.batch_size``, where they go on from those of the step before.
    """

    seqlen: int
    vocab_size: int | None = None
    d_input: int | None = None
    eval_seqlen: int | None = None
    n_labels: int | None = None
    n_classes: int | None = None
    d_target: int | None = None
    lanes: int | None = None

    @property
    def longest(self) -> int:
        """Return the length of the longest sequence of training and evaluation."""
        return max(self.seqlen, self.eval_seqlen or self.seqlen)


@dataclass(frozen=True)
class Metric:
    """Something measured.

    Attributes:
        name: Its name, such as ``"bits_per_base"``.
        unit: Its unit, such as ``"%"`` or ``"bits"``; empty if it has none.
        higher_is_better: Its direction.
        digits: Digits after the point that matter.
    """

    name: str
    unit: str = ""
    higher_is_better: bool = False
    digits: int = 3


ACCURACY = Metric("accuracy", "%", higher_is_better=True, digits=2)
"""The fraction of counted targets that are most likely for the model, in percent."""


def bits_per(unit: str) -> Metric:
    """Return the metric of cross-entropy in bits a ``unit``, such as a byte."""
    return Metric(f"bits_per_{unit}", "bits")


@dataclass(frozen=True)
class EvalSet:
    """One fixed set to evaluate on: a length, a species, a slice.

    Attributes:
        split: ``"validation"`` or ``"test"``.
        name: Its name, such as ``"length_512"``.
        rows: How many rows it has.
        seqlen: Their length, the longest if they vary.
        lanes: Rows that are evaluated at once, where they go on from those before; 0 if they do not.
    """

    split: Split
    name: str
    rows: int
    seqlen: int
    lanes: int = 0


@dataclass(frozen=True)
class Baseline:
    """What a trivial predictor reaches: its name and its value in the task's first metric."""

    name: str
    value: float


SampleMetric = Callable[[list[TokenIds], "Task"], Mapping[str, float]]
"""Scores generated samples, each (L,) with its prompt: named values, logged as ``sample/<name>``."""


class Task(ABC):
    """Data for one experiment, split once and for all, and handed out by rows.

    A subclass is one file and one line in the registry. Its constructor's keyword arguments, with their type
    annotations and defaults, are the options that users set as ``task.<option>=…``; ``seed`` is passed in by
    the suite. Construction must be cheap: read data on first use, so that listing and dry runs stay fast, but
    raise :class:`~seqsuite.errors.UserError` as early as bad input can be seen. The constructor sets ``io``.
    Most tasks are simpler written as a :class:`~seqsuite.tasks.rows.RowTask` or a
    :class:`~seqsuite.tasks.windows.WindowTask`.
    """

    io: ModelIO
    """What a model takes and gives."""

    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY,)
    """What is measured; the first ranks models."""

    unit: ClassVar[str] = "token"
    """What one token is: ``"byte"``, ``"base"``, ``"sample"`` …"""

    class_names: tuple[str, ...] = ()
    """What the classes of whole sequences are called, where ``io.n_classes`` says that there are some."""

    codec: Codec | None = None
    """Tokens to text, FASTA or WAV and back; ``None`` where continuing a prompt means nothing."""

    loss_by_position: ClassVar[bool] = False
    """Whether the test's loss is also recorded by position in the context."""

    @property
    def token_units(self) -> npt.NDArray[np.float64] | None:
        """How many of ``unit`` each target token stands for (V,), where that is not one."""
        return None

    sample_metrics: ClassVar[tuple[SampleMetric, ...]] = ()
    """What is measured on generated samples of a finished model."""

    judge: str | None = None
    """Finished run of a :class:`JudgeTask`, whose classifier scores generated samples; or none."""

    sample_count: int = 4
    """How many samples are generated to be measured."""

    sample_length: int | None = None
    """How many tokens a measured sample has after its prompt; ``None`` is as many as ``io.seqlen``."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def train_batch(self, rows: range) -> Batch:
        """Return training rows: each a pure function of the seed and its number."""

    @abstractmethod
    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the sets of ``"validation"`` or ``"test"``; the first is what models are ranked by."""

    @abstractmethod
    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return rows of an evaluation set: the same for every model, and every seed where data is fixed."""

    def fingerprint(self) -> str:
        """Return a hash of the data's content, part of a cell's identity; empty where data is generated."""
        return ""

    def describe(self) -> str | None:
        """Return in one line what data was read: files, records, splits; ``None`` where it is generated."""
        return None

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return what trivial predictors reach on an evaluation set, the usual one first."""
        return ()

    def prompt(self) -> TokenIds:
        """Return a short prompt (L,) to start a generated sample from: by default one token 0."""
        return np.zeros(1, dtype=np.int64)


class JudgeTask(Task):
    """A task of classifying what another task's models generate.

    It reads the same data as that task, and has the same :meth:`~Task.fingerprint`. It has evaluation sets of
    ``"train"``, too: the real data that samples are compared with. A set that is asked for with fewer rows
    than it has is evenly spaced.
    """

    @abstractmethod
    def inputs_of(self, samples: Array) -> Array:
        """Return a classifier's inputs (N, L, C) or (N, L) for generated tokens (N, T) without prompts."""

"""What is minimised and what is measured: once for training and evaluation, as sums that add over ranks."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.models.config import ModelShape
from seqsuite.tasks.base import IGNORE, ModelIO, Task

Sums = dict[str, Tensor]
"""Totals over targets, each a scalar: ``loss``, ``count`` and what a metric needs besides."""


class Objective(ABC):
    """A loss and the scores beside it."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: TensorBatch) -> Tensor:
        """Return the sum of the loss over counted targets, a scalar with gradient."""

    @abstractmethod
    def sums(self, outputs: Tensor, batch: TensorBatch) -> Sums:
        """Return the totals of a batch, float64, without gradient."""

    @abstractmethod
    def scores(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return ``loss`` and the metrics from the totals over an evaluation set."""


class CrossEntropy(Objective):
    """Classes, one a position or one a sequence.

    Args:
        unit: What a target is, for the name of the metric in bits; none where targets are whole sequences'.
    """

    def __init__(self, unit: str | None) -> None:
        self._unit = unit

    def loss(self, outputs: Tensor, batch: TensorBatch) -> Tensor:
        """Return the cross-entropy in nats, summed."""
        return F.cross_entropy(
            _at_least_float32(_rows(outputs)), batch.targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )

    @torch.no_grad()
    def sums(self, outputs: Tensor, batch: TensorBatch) -> Sums:
        """Return nats, right answers and targets."""
        targets = batch.targets.flatten()
        logits = _rows(outputs)
        correct = ((logits.argmax(-1) == targets) & (targets != IGNORE)).sum()
        return {
            "loss": self.loss(outputs, batch).double(),
            "correct": correct.double(),
            "count": torch.tensor(float(batch.counted), dtype=torch.float64),
        }

    def scores(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return ``loss`` (nats), ``accuracy`` (percent); of tokens ``bits_per_<unit>``, ``perplexity``."""
        count = max(totals["count"], 1)
        loss, accuracy = totals["loss"] / count, 100 * totals["correct"] / count
        if self._unit is None:
            return {"loss": loss, "accuracy": accuracy}
        bits = {f"bits_per_{self._unit}": loss / math.log(2)}
        perplexity = math.exp(loss) if loss < _LARGEST_EXPONENT else math.inf
        return {"loss": loss, **bits, "accuracy": accuracy, "perplexity": perplexity}


class SquaredError(Objective):
    """Numbers to regress; a target that is NaN does not count."""

    def loss(self, outputs: Tensor, batch: TensorBatch) -> Tensor:
        """Return the squared error, summed."""
        return self._errors(outputs, batch).square().sum()

    @torch.no_grad()
    def sums(self, outputs: Tensor, batch: TensorBatch) -> Sums:
        """Return squared and absolute errors and targets."""
        errors = self._errors(outputs, batch).double()
        count = torch.tensor(float(batch.counted), dtype=torch.float64)
        return {"loss": errors.square().sum(), "absolute": errors.abs().sum(), "count": count}

    def scores(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return ``loss``, the mean squared error, also as ``mse``, and ``mae``, the mean absolute one."""
        count = max(totals["count"], 1)
        mse = totals["loss"] / count
        return {"loss": mse, "mse": mse, "mae": totals["absolute"] / count}

    def _errors(self, outputs: Tensor, batch: TensorBatch) -> Tensor:
        counted = torch.isfinite(batch.targets)
        errors = _at_least_float32(outputs) - batch.targets.nan_to_num()
        return torch.where(counted, errors, 0.0)


_LARGEST_EXPONENT = 700.0  # e to more than this is no double


def objective_for(task: Task) -> Objective:
    """Return the objective that a task's targets ask for."""
    if task.io.d_target is not None:
        return SquaredError()
    return CrossEntropy(None if task.io.n_classes is not None else task.unit)


def shape_of(io: ModelIO) -> ModelShape:
    """Return what of a task's data a model is built from."""
    return ModelShape(
        seqlen=io.longest,
        vocab_size=io.vocab_size,
        d_input=io.d_input,
        n_outputs=io.d_target if io.d_target is not None else io.n_labels,
        n_classes=io.n_classes,
    )


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _rows(outputs: Tensor) -> Tensor:
    """Return outputs (…, K) as (targets, K)."""
    return outputs.flatten(0, -2)

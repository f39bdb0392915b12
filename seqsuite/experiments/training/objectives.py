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

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What :meth:`scores` names for every set, what it is by position left out."""

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
        token_units: How many units each token stands for (V,), where that is not one.
        by_position: Whether the loss is also told by position in the context.
    """

    def __init__(
        self, unit: str | None, token_units: Tensor | None = None, *, by_position: bool = False
    ) -> None:
        self._unit, self._token_units, self._by_position = unit, token_units, by_position

    @property
    def names(self) -> tuple[str, ...]:
        """``loss`` and ``accuracy``; of tokens bits and perplexity besides."""
        bits = () if self._unit is None else (f"bits_per_{self._unit}", "perplexity")
        return ("accuracy", *bits, "loss")

    def loss(self, outputs: Tensor, batch: TensorBatch) -> Tensor:
        """Return the cross-entropy in nats, summed."""
        return F.cross_entropy(
            _at_least_float32(_rows(outputs)), batch.targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )

    @torch.no_grad()
    def sums(self, outputs: Tensor, batch: TensorBatch) -> Sums:
        """Return nats, right answers and targets; units and nats by position if they are asked for."""
        targets = batch.targets.flatten()
        logits = _rows(outputs)
        counted = targets != IGNORE
        sums = {
            "loss": self.loss(outputs, batch).double(),
            "correct": ((logits.argmax(-1) == targets) & counted).sum().double(),
            "count": torch.tensor(float(batch.counted), dtype=torch.float64),
        }
        if self._token_units is not None:
            units = self._token_units.to(targets.device)
            sums["units"] = units[targets[counted]].sum().double()
        if self._by_position:
            sums |= _sums_by_position(logits, batch, self._token_units)
        return sums

    def scores(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return ``loss`` (nats), ``accuracy`` (percent); of tokens ``bits_per_<unit>``, ``perplexity``.

        By position, ``loss_by_position/64`` is the mean loss in nats of the targets that have 17 to 64 tokens
        of context, and ``bits_per_<unit>_by_position/64`` the same in bits a unit; buckets end at the powers
        of four.
        """
        count = max(totals["count"], 1)
        loss, accuracy = totals["loss"] / count, 100 * totals["correct"] / count
        if self._unit is None:
            return {"loss": loss, "accuracy": accuracy}
        units = max(totals.get("units", count), 1)
        bits = {f"bits_per_{self._unit}": totals["loss"] / units / math.log(2)}
        perplexity = math.exp(loss) if loss < _LARGEST_EXPONENT else math.inf
        scores = {"loss": loss, **bits, "accuracy": accuracy, "perplexity": perplexity}
        return scores | _scores_by_position(totals, f"bits_per_{self._unit}")


class SquaredError(Objective):
    """Numbers to regress; a target that is NaN does not count."""

    names = ("mse", "mae", "loss")

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


_BY_POSITION = "loss_by_position"
_LARGEST_EXPONENT = 700.0  # e to more than this is no double


def objective_for(task: Task, *, detailed: bool = False) -> Objective:
    """Return the objective that a task's targets ask for.

    Args:
        task: The task.
        detailed: Whether what is recorded once, of the finished model, is measured too.
    """
    if task.io.d_target is not None:
        return SquaredError()
    if task.io.n_classes is not None:
        return CrossEntropy(None)
    units = task.token_units
    by_position = detailed and task.loss_by_position and task.io.lanes is None
    return CrossEntropy(
        task.unit, None if units is None else torch.from_numpy(units), by_position=by_position
    )


def _scores_by_position(totals: Mapping[str, float], bits: str) -> dict[str, float]:
    """Return the mean loss by length of the context, a target in nats and a unit in bits."""
    found = {}
    for key, nats in totals.items():
        name, _, edge = key.partition("/")
        if name == "loss" and edge and totals[f"count/{edge}"]:
            found[f"{_BY_POSITION}/{edge}"] = nats / totals[f"count/{edge}"]
            if totals[f"units/{edge}"]:
                found[f"{bits}_by_position/{edge}"] = nats / totals[f"units/{edge}"] / math.log(2)
    return found


def _sums_by_position(logits: Tensor, batch: TensorBatch, token_units: Tensor | None) -> Sums:
    """Return nats, targets and units by length of the context, in buckets that end at the powers of four."""
    targets = batch.targets
    positions = torch.arange(targets.shape[-1], device=targets.device).expand_as(targets)
    if batch.cu_seqlens is not None:
        starts = batch.cu_seqlens[:-1]
        sequence = torch.bucketize(positions, starts, right=True) - 1
        positions = positions - starts[sequence]
    losses = F.cross_entropy(
        _at_least_float32(logits), targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    edges = [4**power for power in range(math.ceil(math.log(targets.shape[-1], 4) - 1e-9) + 1)]
    bucket = torch.bucketize(positions.flatten() + 1, torch.tensor(edges, device=targets.device))
    counted = (targets.flatten() != IGNORE).double()
    units = counted
    if token_units is not None:
        units = counted * token_units.to(targets.device)[targets.flatten().clamp(min=0)]
    weights = torch.stack([losses.double(), counted, units])
    totals = weights.new_zeros(len(weights), len(edges)).index_add_(1, bucket, weights)
    return {
        f"{name}/{edge}": totals[row, number]
        for row, name in enumerate(("loss", "count", "units"))
        for number, edge in enumerate(edges)
    }


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

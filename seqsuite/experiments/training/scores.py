"""Scoring a model on a task's fixed evaluation sets."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqsuite.experiments.training.batches import TensorBatch, to_tensors
from seqsuite.experiments.training.objectives import Objective, Sums
from seqsuite.models.sequence_model import BackboneState, SequenceClassifier, SequenceModel
from seqsuite.tasks.base import EvalSet, Split, Task


class CarriedModel:
    """A model with the state that goes from one batch to the next, where batches continue.

    Args:
        model: The model.

    Attributes:
        state: The state after the last batch that was fed in a row of batches that continue.
    """

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self.state: BackboneState | None = None

    def __call__(self, batch: TensorBatch, *, carry: bool = False) -> Tensor:
        """Return the model's outputs for a batch.

        Args:
            batch: What to feed.
            carry: Whether the state is carried: into this batch if it continues, and out of it for the next.
        """
        if not carry:
            if isinstance(self.model, SequenceClassifier):
                outputs: Tensor = self.model(batch.inputs, batch.cu_seqlens, batch.lengths)
            else:
                outputs = self.model(batch.inputs, batch.cu_seqlens)
            return outputs
        if self.state is None or not batch.continues:
            self.state = self.model.initial_state(len(batch.inputs))
        outputs, after = self.model.prefill(batch.inputs, self.state)
        self.state = after.detach()
        return outputs


@torch.no_grad()
def evaluate(
    model: SequenceModel,
    task: Task,
    split: Split,
    objective: Objective,
    *,
    batch_size: int,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Return the loss and the metrics over every counted target of a split's sets.

    Args:
        model: What maps a batch's inputs to outputs.
        task: Where the evaluation sets come from.
        split: ``"validation"`` or ``"test"``.
        objective: What is measured.
        batch_size: Sequences a batch, of training's length; of longer ones fewer.
        device: Where the model is.
        stop: Asked after each batch; once it returns true the evaluation is given up.

    Returns:
        The objective's scores of the first set by their names, those of others as ``<set>/<name>``; ``None``
        if it was given up.
    """
    was_training = model.training
    model.eval()
    found: dict[str, float] = {}
    try:
        for number, which in enumerate(task.eval_sets(split)):
            carried, totals = CarriedModel(model), dict[str, Any]()
            for rows in _batches(which, task.io.seqlen, batch_size):
                if stop():
                    return None
                batch = to_tensors(task.eval_batch(which, rows), device)
                _add(totals, objective.sums(carried(batch, carry=which.lanes > 0), batch))
            scores = objective.scores({key: float(value) for key, value in totals.items()})
            prefix = f"{which.name}/" if number else ""
            found |= {prefix + name: value for name, value in scores.items()}
    finally:
        model.train(was_training)
    return found


def _batches(which: EvalSet, seqlen: int, batch_size: int) -> Iterator[range]:
    """Yield the rows of each batch, none of which has more tokens than a batch of training's length."""
    size = which.lanes or max(1, batch_size * seqlen // max(which.seqlen, seqlen))
    rows = range(which.rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _add(totals: Sums, more: Sums) -> None:
    for key, value in more.items():
        totals[key] = totals[key] + value if key in totals else value

"""Scoring a model on a task's fixed evaluation sets."""

from collections.abc import Callable, Iterator

import torch

from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.experiments.training.objectives import Objective, Sums
from seqsuite.experiments.training.placement import Placement
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import EvalSet, Split, Task


@torch.no_grad()
def evaluate(
    model: SequenceModel,
    task: Task,
    split: Split,
    objective: Objective,
    *,
    batch_size: int,
    placement: Placement,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Return the loss and the metrics over every counted target of a split's sets.

    Args:
        model: What maps a batch's inputs to outputs.
        task: Where the evaluation sets come from.
        split: ``"validation"`` or ``"test"``.
        objective: What is measured.
        batch_size: Sequences a batch, of training's length; of longer ones fewer.
        placement: Where the model is; of several processes each scores its share of the rows.
        stop: Asked before each batch; once it returns true the evaluation is given up.

    Returns:
        The objective's scores of the first set by their names, those of others as ``<set>/<name>``; ``None``
        if it was given up.
    """
    was_training = model.training
    model.eval()
    found: dict[str, float] = {}
    try:
        for number, which in enumerate(task.eval_sets(split)):
            carried = CarriedModel(model)
            totals: Sums = {}
            for rows in _batches(which, task.io.seqlen, batch_size):
                if any(placement.agree([stop()])):
                    return None
                share = placement.share(rows)
                # Who has no row left computes one that does not count: a model may be in parts on all.
                batch = to_tensors(task.eval_batch(which, share or rows[:1]), placement.device)
                sums = objective.sums(carried(batch, carry=which.lanes > 0), batch)
                _add(totals, sums if share else {key: torch.zeros_like(sums[key]) for key in sums})
            reduced = placement.reduce(totals)
            scores = objective.scores({key: float(value) for key, value in reduced.items()})
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

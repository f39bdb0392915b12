"""Scoring a model on a task's fixed evaluation sets."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from seqsuite.experiments.training.batches import TensorBatch, to_tensors
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.experiments.training.objectives import Objective, Sums
from seqsuite.experiments.training.placement import Placement
from seqsuite.models.sequence_model import SequenceClassifier, SequenceModel
from seqsuite.tasks.base import IGNORE, EvalSet, Split, Task
from seqsuite.tasks.checks import check_batch, check_counted, check_sets


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
        The objective's scores of the first set by their names, those of others as ``<set>/<name>``, without
        the sets of :func:`unmeasurable`; ``None`` if it was given up.

    Raises:
        UserError: if a set is not what the task says, or has no target that counts.
    """
    check_sets(task, split, task.eval_sets(split))
    left_out = unmeasurable(model, task, split)
    was_training = model.training
    model.eval()
    found: dict[str, float] = {}
    try:
        for number, which in enumerate(task.eval_sets(split)):
            if which in left_out:
                continue
            carried = CarriedModel(model)
            totals: Sums = {}
            for rows in _batches(which, task.io.seqlen, batch_size):
                if any(placement.agree([stop()])):
                    return None
                share = placement.share(rows)
                # Who has no row left computes one that does not count: a model may be in parts on all.
                scored = share or rows[:1]
                batch = task.eval_batch(which, scored)
                check_batch(task, batch, scored, which)
                tensors = to_tensors(batch, placement.device)
                sums = _sums(carried, tensors, objective, which, task.io.longest)
                _add(totals, sums if share else {key: torch.zeros_like(sums[key]) for key in sums})
            reduced = {key: float(value) for key, value in placement.reduce(totals).items()}
            check_counted(task, which, reduced["count"])
            scores = objective.scores(reduced)
            prefix = f"{which.name}/" if number else ""
            found |= {prefix + name: value for name, value in scores.items()}
    finally:
        model.train(was_training)
    return found


def unmeasurable(model: SequenceModel, task: Task, split: Split) -> Sequence[EvalSet]:
    """Return the sets of a split that a model cannot be scored on.

    A set of sequences longer than the task's ``io.longest`` is fed in pieces of that length with the state
    carried on. That takes a state that does not grow any more, and no learned positions.
    """
    longest, layers = task.io.longest, model.blocks.layers()

    def is_measured(which: EvalSet) -> bool:
        if which.seqlen <= longest:
            return True
        grows = any(layer.state_size(which.seqlen) > layer.state_size(longest) for layer in layers)
        return model.longest_input is None and not grows

    return tuple(which for which in task.eval_sets(split) if not is_measured(which))


def in_pieces(model: SequenceModel, batch: TensorBatch, length: int) -> Iterator[tuple[Tensor, TensorBatch]]:
    """Feed sequences piece by piece with the state carried on, in the memory that one piece takes.

    Args:
        model: The model.
        batch: Sequences that are not packed.
        length: Positions of a piece.

    Yields:
        The model's outputs for a piece, and the piece: of a classifier, the sequences that end in it.
    """
    state = model.initial_state(len(batch.inputs))
    for start in range(0, batch.inputs.shape[1], length):
        inputs = batch.inputs[:, start : start + length]
        outputs, state = model.prefill(inputs, state)
        if isinstance(model, SequenceClassifier):
            width = inputs.shape[1]
            lengths = batch.inputs.shape[1] if batch.lengths is None else batch.lengths
            last = torch.full((len(inputs),), 0, device=inputs.device) + lengths - 1 - start
            [ending] = torch.where((last >= 0) & (last < width))
            outputs, targets = outputs[ending, last[ending]], batch.targets[ending]
        else:
            targets = batch.targets[:, start : start + length]
        counted = ~targets.isnan() if targets.is_floating_point() else targets != IGNORE
        yield outputs, TensorBatch(inputs, targets, None, None, start > 0, int(counted.sum()))


def _batches(which: EvalSet, seqlen: int, batch_size: int) -> Iterator[range]:
    """Yield the rows of each batch, none of which has more tokens than a batch of training's length."""
    size = which.lanes or max(1, batch_size * seqlen // max(which.seqlen, seqlen))
    rows = range(which.rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _sums(
    carried: CarriedModel, batch: TensorBatch, objective: Objective, which: EvalSet, longest: int
) -> Sums:
    """Return what an objective sums up over a batch of a set, which is fed in pieces if it is too long."""
    if which.seqlen <= longest:
        return objective.sums(carried(batch, carry=which.lanes > 0), batch)
    totals: Sums = {}
    for outputs, part in in_pieces(carried.model, batch, longest):
        _add(totals, objective.sums(outputs, part))
    return totals


def _add(totals: Sums, more: Sums) -> None:
    for key, value in more.items():
        totals[key] = totals[key] + value if key in totals else value

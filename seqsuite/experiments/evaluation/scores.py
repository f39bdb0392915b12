"""Scoring a model on a task's fixed evaluation sets."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.tasks.base import IGNORE, Batch, Split, Task, TaskSpec


def to_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return a batch's inputs and targets as tensors (B, L) on ``device``."""
    return torch.from_numpy(batch.inputs).to(device), torch.from_numpy(batch.targets).to(device)


def bits_metric(spec: TaskSpec) -> str:
    """Return the name of the task's cross-entropy in bits, such as ``bits_per_base``."""
    return spec.metric if spec.metric.startswith("bits_per_") else f"bits_per_{spec.unit}"


@torch.no_grad()
def evaluate(
    model: nn.Module,
    task: Task,
    split: Split,
    batch_size: int,
    device: torch.device,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Return the loss and metrics over every counted target of a split.

    Args:
        model: Token ids (B, L) to logits (B, L, V).
        task: Where the evaluation set comes from.
        split: ``"validation"`` or ``"test"``.
        batch_size: Sequences a batch.
        device: Where the model is.
        stop: Asked after each batch; once it returns true the evaluation is given up.

    Returns:
        ``loss`` in nats, ``bits_per_<unit>`` and ``accuracy`` in percent, each a mean over targets; ``None``
        if it was given up.
    """
    was_training = model.training
    model.eval()
    nats = correct = count = 0.0
    try:
        for index in range(task.num_eval_batches(split, batch_size)):
            if stop():
                return None
            inputs, targets = to_tensors(task.batch(split, index, batch_size), device)
            logits = model(inputs)
            nats += F.cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="sum"
            ).item()
            counted = targets != IGNORE
            correct += ((logits.argmax(-1) == targets) & counted).sum().item()
            count += counted.sum().item()
    finally:
        model.train(was_training)
    loss = nats / count
    return {"loss": loss, bits_metric(task.spec): loss / math.log(2), "accuracy": 100 * correct / count}

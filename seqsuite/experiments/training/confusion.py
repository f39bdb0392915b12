"""What a classifier takes for what: its confusion matrix, as numbers and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from seqsuite.experiments.training.batches import to_tensors
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import IGNORE, EvalSet, Task

Counts = npt.NDArray[np.int64]

_SIZE = 1.1  # inches a class


@torch.no_grad()
def confusion_matrix(
    model: SequenceModel, task: Task, which: EvalSet, *, batch_size: int, device: torch.device
) -> Counts:
    """Return how often each class (rows) was taken for each (columns), (K, K), over an evaluation set.

    Sequences that are ignored do not count.
    """
    classes = task.io.n_classes
    assert classes is not None
    counts = np.zeros((classes, classes), dtype=np.int64)
    carried = CarriedModel(model)
    for start in range(0, which.rows, batch_size):
        rows = range(start, min(start + batch_size, which.rows))
        batch = to_tensors(task.eval_batch(which, rows), device)
        found = carried(batch).argmax(-1)
        counted = batch.targets != IGNORE
        places = (batch.targets[counted].cpu().numpy(), found[counted].cpu().numpy())
        np.add.at(counts, places, 1)
    return counts


def write_confusion(counts: Counts, names: Sequence[str], folder: Path) -> list[Path]:
    """Write ``confusion.csv`` and ``confusion.png`` into ``folder`` and return them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table, picture = folder / "confusion.csv", folder / "confusion.png"
    with table.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["true", *names])
        writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = _SIZE * len(names) + 1.5
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{100 * share:.0f} %", ha="center", va="center", color=color)
    figure.savefig(picture)
    return [table, picture]

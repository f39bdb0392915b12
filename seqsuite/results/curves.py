"""The curves of several runs over each other."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.pictures import PictureFile, look, save_picture
from seqsuite.results.collect import metric_of


def draw_curves(reader: Reader, runs: Sequence[CellRun], file: PictureFile) -> Path:
    """Write :func:`curves_figure` to a file.

    Raises:
        UserError: if a run cannot be read or the picture cannot be written.
    """
    return save_picture(curves_figure(reader, runs), file)


def curves_figure(reader: Reader, runs: Sequence[CellRun]) -> Figure:
    """Draw the training loss of runs, and below it the metric on the validation set, each with a line a run.

    Metrics that differ among the runs have a panel each.
    """
    metrics = {metric_of(run).name: metric_of(run) for run in runs}
    figure = Figure(figsize=(7, 2.6 * (1 + len(metrics))), layout="constrained")
    panels = figure.subplots(1 + len(metrics), 1, squeeze=False, sharex=True).flatten()
    for place, run in enumerate(runs):
        _plot(panels[0], reader, run, schema.TRAIN_LOSS, place, 1 / math.log(2))
        for panel, name in zip(panels[1:], metrics, strict=True):
            _plot(panel, reader, run, schema.VALIDATION + name, place, 1.0)
    panels[0].set_ylabel("training loss (bits per target)")
    for panel, metric in zip(panels[1:], metrics.values(), strict=True):
        panel.set_ylabel(f"validation {metric.label}")
    panels[-1].set_xlabel("step")
    for panel in panels:
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def _plot(panel: Axes, reader: Reader, run: CellRun, name: str, place: int, factor: float) -> None:
    points = reader.history(run.run_id, name)
    panel.plot(
        [step for step, _ in points],
        [factor * value for _, value in points],
        color=look(place).colour,
        linestyle=look(place).dashes,
        marker="." if len(points) < 20 else "",
        linewidth=1.3,
        label=f"{run.name} ({run.run_id[:8]})",
    )

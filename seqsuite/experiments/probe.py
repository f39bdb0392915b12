"""How long cells will take: a few steps of each, of which nothing is kept."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch

from seqsuite.devices import choose_device
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.worker import using_threads
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.placement import Single

PROBE_STEPS = 4
"""Steps that are timed, after one that is not."""


def probe(cells: Sequence[CellConfig], threads: int | None = None) -> list[float]:
    """Estimate how long one process trains each cell, in seconds; cells of different seeds share a probe.

    Evaluations, and what other cells that run at the same time cost, are left out.

    Args:
        cells: What is to be run.
        threads: Threads that a cell will have; ``None`` is as many as there are now.

    Raises:
        UserError: if a cell's data or model cannot be used.
    """
    known: dict[str, float] = {}
    seconds = []
    with using_threads(threads):
        for cell in cells:
            key = cell.model_dump_json(exclude={"seed": True, "train": {"steps"}, "run": {"name"}})
            if key not in known:
                known[key] = _seconds_of_a_step(cell)
            seconds.append(known[key] * cell.train.steps)
    return seconds


def _seconds_of_a_step(cell: CellConfig) -> float:
    placement = Single(choose_device(cell.run.device), cell.train)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = assemble(cell, cell.make_task(), placement, Path(folder), [])
        with suppress(_Enough):
            trainer.train(InterruptionFlag(), clock)
    return clock.seconds_of_a_step()


class _Enough(Exception):  # noqa: N818  # the state of things, not a fault
    """As many steps as are needed were taken."""


class _Clock(Callback):
    """Notes when each step was done, and stops after a few."""

    def __init__(self) -> None:
        self._times = [time.perf_counter()]

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times.append(time.perf_counter())
        if len(self._times) > 1 + PROBE_STEPS:
            raise _Enough

    def seconds_of_a_step(self) -> float:
        """Return the median; of a cell of one step, that step."""
        times = self._times[1:] if len(self._times) > 2 else self._times
        return statistics.median(later - earlier for earlier, later in pairwise(times))

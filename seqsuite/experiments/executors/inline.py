"""Cells one after the other, in this process."""

from collections.abc import Generator, Sequence

from seqsuite.experiments.cell import CellResult, run_cell
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import Executor
from seqsuite.experiments.executors.worker import using_threads
from seqsuite.experiments.interruption import InterruptionFlag


class Inline(Executor):
    """Runs cells in order, each with its progress display."""

    def run(self, cells: Sequence[CellConfig], stop: InterruptionFlag) -> Generator[CellResult, None, None]:
        """Run one cell each time that a result is asked for."""
        for cell in cells:
            with using_threads(self.plan.run.threads):
                result = run_cell(cell, self.plan.host, parent_run_id=self.plan.parent_run_id)
            yield result

"""A part of a store's runs, read once."""

from collections.abc import Collection, Sequence

from seqsuite.experiments.tracking.reader import Points, Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.collect import select
from seqsuite.results.filters import Filter
from seqsuite.results.groups import newest


class SelectedReader:
    """Reads the runs that meet conditions, one a cell; they are those of when it was made.

    Args:
        reader: Where to read.
        filters: Conditions on settings.
        without: Ids of runs to leave out.
    """

    def __init__(self, reader: Reader, filters: Sequence[Filter], without: Collection[str] = ()) -> None:
        self.experiment = reader.experiment
        self._reader = reader
        kept = select(newest(reader.cells()), filters)
        self._cells = [cell for cell in kept if cell.run_id not in without]

    def cells(self) -> list[CellRun]:
        """Return the runs, newest first."""
        return list(self._cells)

    def get(self, run_id: str) -> CellRun:
        """Return one run."""
        return self._reader.get(run_id)

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step."""
        return self._reader.history(run_id, metric)

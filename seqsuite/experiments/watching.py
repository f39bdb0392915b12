"""How far the cells of a grid are, read from their journals by a process that need not run them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.events import EVENTS, Ended, Event, Measured, Started, read_events

State = Literal["waiting", "running", "finished", "skipped", "busy", "diverged", "failed"]


@dataclass
class Progress:
    """How far a cell is.

    Attributes:
        config: The cell.
        state: What it does, or what became of it.
        step: Steps that are done, as far as its journal says.
        metrics: The newest value of each metric of its journal, or its final ones.
        seconds_left: How long it will still train; ``None`` where that is not known.
    """

    config: CellConfig
    state: State
    step: int
    metrics: dict[str, float]
    seconds_left: float | None = None


class Watch:
    """Follows the journals of a grid's cells.

    Args:
        cells: The grid's cells.
    """

    def __init__(self, cells: Sequence[CellConfig]) -> None:
        self._watched = [_Watched(cell) for cell in cells]

    def ended(self, result: CellResult) -> None:
        """Note what became of a cell."""
        for watched in self._watched:
            if watched.progress.config is result.config:
                watched.end(result)

    def look(self) -> list[Progress]:
        """Read what is new in the journals, and return how far each cell is, in their order."""
        for watched in self._watched:
            watched.read()
        return [watched.progress for watched in self._watched]


class _Watched:
    """One cell, and how far its journal was read."""

    def __init__(self, config: CellConfig) -> None:
        self.progress = Progress(config, "waiting", 0, {})
        self._is_over = False
        self._offset = 0
        self._since: tuple[int, int] | None = None  # time in milliseconds, and the step then
        try:
            folder = config.work_folder(config.make_task().fingerprint())
        except Exception:  # the cell fails, perhaps of a plug-in, and says why
            self._is_over = True
        else:
            self._path = folder / EVENTS

    def end(self, result: CellResult) -> None:
        self._is_over = True
        progress = self.progress
        progress.state, progress.seconds_left = result.outcome, None
        progress.metrics |= result.metrics
        if result.outcome in ("finished", "skipped"):
            progress.step = progress.config.train.steps

    def read(self) -> None:
        if self._is_over:
            return
        try:
            for event, offset in read_events(self._path, self._offset):
                self._apply(event)
                self._offset = offset
        except UserError:  # its folder is being deleted, or is damaged, which its worker says
            return

    def _apply(self, event: Event) -> None:
        progress = self.progress
        if isinstance(event, Started):
            progress.state, self._since = "running", None
        elif isinstance(event, Ended):
            progress.state = "waiting"
        elif isinstance(event, Measured) and schema.TEST not in "".join(event.values):
            progress.step = max(progress.step, event.step)
            progress.metrics |= event.values
            if self._since is None:
                self._since = event.time, event.step
            elif event.step > self._since[1]:
                seconds = (event.time - self._since[0]) / 1000 / (event.step - self._since[1])
                progress.seconds_left = seconds * (progress.config.train.steps - event.step)

"""A table of all cells of a grid that changes while they run."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table

from seqsuite.commands.progress import metric_text
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.watching import Progress, Watch
from seqsuite.report.format import duration

_SECONDS = 0.5  # between looks at the journals
_AROUND = 6  # lines of the terminal that the table leaves
_GAP = 2  # spaces between columns
_ORDER = {"running": 0, "failed": 1, "diverged": 1, "busy": 2, "waiting": 3, "finished": 4, "skipped": 4}
"""Which cells are shown first where there is no room for all."""


class LiveTable:
    """Shows each cell's state, step, metric and the time it will still take, as its journal tells them.

    Off a terminal it shows nothing. As a context manager it is there while the grid runs; what is printed
    meanwhile stands above it.

    Args:
        console: Where to show it.
        cells: The grid's cells.
    """

    def __init__(self, console: Console, cells: Sequence[CellConfig]) -> None:
        self._console = console
        self._metrics: dict[int, str] = {}
        self._watch = Watch(cells)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="live table", daemon=True)

    def ended(self, result: CellResult) -> None:
        """Show what became of a cell."""
        self._watch.ended(result)

    def table(self) -> Table:
        """Return the table as it is now."""
        table = Table(box=None, pad_edge=False, expand=True)
        table.add_column("cell", ratio=1, no_wrap=True, overflow="ellipsis")
        others = ["state", "step", "metric", "left"]
        for name in others:
            side: JustifyMethod = "right" if name in ("step", "left") else "left"
            table.add_column(name, no_wrap=True, overflow="ellipsis", justify=side)
        cells = self._watch.look()
        room = max(self._console.height - _AROUND, 1)
        chosen = sorted(range(len(cells)), key=lambda index: (_ORDER[cells[index].state], index))[:room]
        rows = {index: self._row(cells[index]) for index in sorted(chosen)}
        beside = sum(_GAP + max(map(len, column)) for column in zip(others, *rows.values(), strict=True))
        names = _told_apart([cell.config.title for cell in cells], self._console.width - beside)
        for index, row in rows.items():
            table.add_row(names[index], *row)
        if hidden := len(cells) - len(chosen):
            table.add_row(f"and {hidden} more")
        return table

    def _row(self, cell: Progress) -> list[str]:
        told = self._score(cell) if cell.metrics else ""
        left = "" if cell.seconds_left is None else duration(cell.seconds_left)
        return [cell.state, f"{cell.step:,}/{cell.config.train.steps:,}", told, left]

    def _score(self, cell: Progress) -> str:
        """Return the metric of a cell that has begun: that of one that has not may be of a faulty plug-in."""
        key = id(cell.config)
        metric = self._metrics[key] = self._metrics.get(key) or cell.config.make_task().metrics[0].name
        value = cell.metrics.get(schema.TEST + metric, cell.metrics.get(schema.VALIDATION + metric))
        if value is not None:
            return metric_text(metric, value)
        loss = cell.metrics.get(schema.TRAIN_LOSS)
        return "" if loss is None else f"loss {loss:.3f}"

    def _refresh(self) -> None:
        while not self._done.wait(_SECONDS):
            self._live.update(self.table(), refresh=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._done.set()
            self._thread.join()
            self._live.stop()


def _told_apart(titles: Sequence[str], room: int) -> Sequence[str]:
    """Return names of cells; where the room is small, without what all begin with, or their middle."""
    if len(titles) < 2 or max(map(len, titles)) <= room:
        return titles
    letters = enumerate(zip(*titles, strict=False))
    differ = next((place for place, choice in letters if len(set(choice)) > 1), 0)
    start = titles[0].rfind("-", 0, differ) + 1
    return [_cut(title[start:], room) for title in titles]


def _cut(name: str, room: int) -> str:
    half = max(room - 1, 2) // 2
    return name if len(name) <= room else f"{name[: max(room - 1, 2) - half]}…{name[-half:]}"

"""What a person sees while cells are trained: a live bar in a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.report.format import duration

_BAR = 10  # columns that the bar has at least
_TIME = 8  # columns of the time that remains
_GAPS = 4  # columns between the others


class ProgressDisplay(Callback):
    """An observer that shows step, loss, tokens/s and the time that remains.

    In a narrow terminal the bar, the step and the time stay; what else there is room for is shown.

    Args:
        console: Where to show it.
        config: The cell.
        start: Steps already done, when resuming.
        place: Its place in the grid, such as ``"[2/9] "``; empty if it is alone.
    """

    def __init__(self, console: Console, config: CellConfig, start: int, place: str = "") -> None:
        self._console, self._config, self._start, self._place = console, config, start, place
        self._bar = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task(
            self._description(), total=config.train.steps, completed=start, status=""
        )
        self._validation: list[str] = []
        self._loss = ("", "")

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Move the bar."""
        if loss is not None:  # else it is not known at this step
            self._loss = f"loss {loss:.3f}", f"{loss / math.log(2):.3f} bits"
        nats, bits = self._loss
        extras = [nats, *self._validation, f"{tokens_per_second:,.0f} tok/s", bits]
        self._bar.update(
            self._task,
            completed=step,
            description=self._description(),
            status=self._fitting([extra for extra in extras if extra]),
        )

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the validation metrics, as a line where there is no bar."""
        told = {name: value for name, value in metrics.items() if name != "loss"} or metrics
        self._validation = [f"val {metric_text(name, value)}" for name, value in told.items()]
        if not self._console.is_terminal:
            shown = ", ".join(metric_text(key, value) for key, value in metrics.items())
            title, steps = self._config.title, self._config.train.steps
            line = f"{self._place}{title}: step {step}/{steps}: validation {shown}"
            self._console.print(line, soft_wrap=True)

    def _description(self) -> str:
        """Return the cell's task and model, cut if there is hardly more room than for the rest."""
        text = f"{self._place}{self._config.task.name} {self._config.model.name}"
        room = max(self._console.width - self._fixed(), 0)
        return text if len(text) <= room else text[: max(room - 1, 0)] + "…" * (room > 0)

    def _fixed(self) -> int:
        """Return the columns that are always taken."""
        return _BAR + 2 * len(str(self._config.train.steps)) + 1 + _TIME + _GAPS

    def _fitting(self, extras: Sequence[str]) -> str:
        """Return as many of the extras, the first ones first, as there is room for."""
        room = self._console.width - self._fixed() - len(self._description())
        chosen = ""
        for extra in extras:
            longer = f"{chosen} · {extra}" if chosen else extra
            if len(longer) > room:
                break
            chosen = longer
        return chosen

    def __enter__(self) -> Self:
        where = f", resumed at step {self._start}" if self._start else ""
        self._console.print(f"{self._place}{self._config.title}{where}", soft_wrap=True)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class GridProgress:
    """Where a grid is: the place of each cell, and how long the rest will take.

    Args:
        cells: The grid's cells, in order.
    """

    def __init__(self, cells: Sequence[CellConfig]) -> None:
        self._cells = list(cells)
        self._left = list(cells)
        self._since = time.monotonic()
        self._seconds = self._work = 0.0

    def place(self, config: CellConfig) -> str:
        """Return a cell's place in the grid, such as ``"[2/9] "``; empty if it is alone."""
        if len(self._cells) == 1:
            return ""
        return f"[{self._cells.index(config) + 1}/{len(self._cells)}] "

    def done(self, config: CellConfig, *, trained: bool) -> None:
        """Note that a cell is done; one that was trained tells how long others take."""
        now = time.monotonic()
        if config in self._left:
            self._left.remove(config)
        if trained:
            self._seconds += now - self._since
            self._work += _work(config)
        self._since = now

    def remaining(self) -> str:
        """Return how long the cells that are left will take, as text; empty if that is not known."""
        if not self._left or not self._work:
            return ""
        seconds = self._seconds / self._work * sum(map(_work, self._left))
        return f"about {duration(seconds)} for the {count(len(self._left), 'cell')} left"


def _work(config: CellConfig) -> float:
    """Return what training takes, in no unit: models of one grid are thought to cost alike."""
    return float(config.train.steps) * config.train.batch_size


def count(number: int, noun: str) -> str:
    """Return a number and what is counted: ``1 cell``, ``2 cells``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def metric_text(name: str, value: float) -> str:
    """Return a metric with its label and unit, such as ``accuracy 97.1 %`` or ``1.898 bits per base``."""
    if name == "accuracy":
        return f"accuracy {value:.2f} %"
    if name.startswith("bits_per_"):
        return f"{value:.3f} {name.replace('_', ' ')}"
    return f"{name.replace('_', ' ')} {value:.4g}"

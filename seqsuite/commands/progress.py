"""What a person sees while a cell is trained: a live bar in a terminal, plain lines elsewhere."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.training.callbacks import Callback


class ProgressDisplay(Callback):
    """An observer that shows step, loss, bits, tokens/s and the time that remains.

    Args:
        console: Where to show it.
        config: The cell.
        start: Steps already done, when resuming.
    """

    def __init__(self, console: Console, config: CellConfig, start: int) -> None:
        self._console, self._config, self._start = console, config, start
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task(
            f"{config.task.name} {config.model.name}", total=config.train.steps, completed=start, status=""
        )
        self._validation, self._loss = "", ""

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Move the bar."""
        if loss is not None:
            self._loss = f"loss {loss:.3f} · "
        status = f"{self._loss}{tokens_per_second:,.0f} tok/s"
        self._bar.update(self._task, completed=step, status=status + self._validation)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the validation metrics, as a line where there is no bar."""
        shown = {name: value for name, value in metrics.items() if "/" not in name}
        self._validation = " · val " + ", ".join(f"{key} {value:.4g}" for key, value in shown.items())
        if not self._console.is_terminal:
            name, steps = self._config.title, self._config.train.steps
            text = ", ".join(f"{key} {value:.4g}" for key, value in shown.items())
            self._console.print(f"{name}: step {step}/{steps}: validation {text}", soft_wrap=True)

    def __enter__(self) -> Self:
        where = f", resumed at step {self._start}" if self._start else ""
        self._console.print(f"{self._config.title}{where}", soft_wrap=True)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

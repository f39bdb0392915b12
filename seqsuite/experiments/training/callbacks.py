"""Who is told of a cell's training: the journal, a progress display, what stops it early."""

from collections.abc import Mapping
from typing import Any


class Callback:
    """Is told what happens; by default it does nothing. All are called in the training thread."""

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Be told that ``step`` steps are done; the loss is ``None`` where the device was not asked."""

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Be told a point of the training curve."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Be told the validation metrics after ``step`` steps.

        Returns:
            Why training should stop here, or ``None``.
        """
        return None

    def saved(self, step: int) -> None:
        """Be told that a checkpoint of ``step`` steps is about to be written."""

    def state_dict(self) -> dict[str, Any]:
        """Return what to save with a checkpoint: tensors, numbers, strings and containers of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""


class Patience(Callback):
    """Stops training after a number of evaluations none of which was the best so far.

    Args:
        evaluations: How many.
        metric: What is compared.
        higher_is_better: Its direction.
    """

    def __init__(self, evaluations: int, metric: str, higher_is_better: bool) -> None:
        self._evaluations, self._metric, self._sign = evaluations, metric, 1 if higher_is_better else -1
        self._best: float | None = None
        self._since = 0

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Count evaluations since the best."""
        value = self._sign * metrics[self._metric]
        if self._best is None or value > self._best:
            self._best, self._since = value, 0
        else:
            self._since += 1
        if self._since < self._evaluations:
            return None
        return f"{self._metric} has not improved over {self._since} evaluations (train.patience)"

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and how long ago it was."""
        return {"best": self._best, "since": self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._best, self._since = state["best"], state["since"]

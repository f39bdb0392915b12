"""How often checkpoints are saved."""

import time
from collections.abc import Callable


class CheckpointRhythm:
    """Says when the next checkpoint is due: by steps if they are given, else by time.

    Args:
        steps: Steps between checkpoints, or ``None``.
        seconds: Seconds between them, where no steps are given.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, steps: int | None = None, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._seconds, self._clock = steps, seconds, clock
        self._step, self._time = 0, clock()

    def start(self, step: int) -> None:
        """Count from here."""
        self.saved(step)

    def saved(self, step: int) -> None:
        """Be told that a checkpoint was saved after ``step`` steps."""
        self._step, self._time = step, self._clock()

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint should be saved after ``step`` steps."""
        if self._steps is not None:
            return step - self._step >= self._steps
        return step > self._step and self._clock() - self._time >= self._seconds

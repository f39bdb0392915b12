"""How often checkpoints are saved."""

import time
from collections.abc import Callable


class CheckpointRhythm:
    """Says when the next checkpoint is due, so that a kill repeats at most what is between two.

    By steps, training is to wait until each is on disk (``waits``). By time it goes on meanwhile, and the
    next one is begun earlier by what the last one took to write.

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
        self.waits = steps is not None

    def start(self, step: int) -> None:
        """Count from here."""
        self.saved(step)

    def saved(self, step: int) -> None:
        """Be told that a checkpoint of ``step`` steps is being saved."""
        self._step, self._time = step, self._clock()

    def is_due(self, step: int, writing: float = 0.0) -> bool:
        """Return whether a checkpoint should be saved after ``step`` steps.

        Args:
            step: Steps that are done.
            writing: Seconds that the last one took to write; more than half the rhythm is not believed.
        """
        if self._steps is not None:
            return step - self._step >= self._steps
        lead = min(writing, self._seconds / 2)
        return step > self._step and self._clock() - self._time >= self._seconds - lead

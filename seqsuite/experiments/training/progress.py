"""How far a training has come."""

import math
from dataclasses import dataclass


@dataclass
class Progress:
    """How far training has come: all of it is saved, so that a resumed run continues exactly.

    Attributes:
        step: Steps that are done.
        seconds: How long they took, evaluations left out.
        waited: How much of it the model waited for data.
        tokens: Positions that were trained on.
        evaluated_step: Last step after which the validation set was scored.
        best: Best value of the task's first metric on it, or ``None``.
        best_loss: Loss on it then: of equal values that with the lower loss is better.
        best_step: After which step.
        stopped: Why training ended before its last step; empty if it did not.
    """

    step: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    tokens: int = 0
    evaluated_step: int = 0
    best: float | None = None
    best_loss: float = math.inf
    best_step: int = 0
    stopped: str = ""

    def tokens_per_second(self) -> float:
        """Return the average training speed."""
        return self.tokens / max(self.seconds, 1e-9)

    def rank(self, step: int, value: float, loss: float, *, higher_is_better: bool) -> None:
        """Note an evaluation, which is the best so far if its value is better, or equal with a lower loss."""
        self.evaluated_step = step

        def order(value: float, loss: float) -> tuple[float, float]:
            return (-value if higher_is_better else value), loss

        if self.best is None or order(value, loss) < order(self.best, self.best_loss):
            self.best, self.best_loss, self.best_step = value, loss, step

"""What is said where numbers of a training are no longer finite."""

import math

from torch import Tensor, nn

from seqsuite.experiments.training.placement import Placement


class DivergenceError(Exception):
    """A loss, gradient or parameter is no longer finite; the message says which and at what step."""


def check_step(
    model: nn.Module, placement: Placement, step: int, loss: float, norm: float, *, scaled: bool
) -> None:
    """Check the loss and the gradient's norm of a step before it is taken.

    Args:
        model: With its gradients.
        placement: Where its tensors lie.
        step: Number of the step.
        loss: Mean over its targets.
        norm: Of the gradient, before clipping.
        scaled: Whether gradients are scaled for half precision: then the optimizer leaves out a step
            whose gradient is not finite, and the scale is lowered.

    Raises:
        DivergenceError: if one is not finite.
    """
    if math.isfinite(loss) and (math.isfinite(norm) or scaled):
        return
    if step == 1 and not math.isfinite(loss) and _parameters_are_finite(model, placement):
        raise DivergenceError(
            f"the loss is {loss} at step 1, before anything was learned: with its first weights the model "
            "gives numbers that are not finite; look at what its layers divide by, or take roots of."
        )
    for kind in ("parameter", "gradient"):
        for name, parameter in model.named_parameters():
            values: Tensor | None = parameter if kind == "parameter" else parameter.grad
            if values is not None and not placement.whole(values).isfinite().all():
                raise DivergenceError(
                    f"the {kind} of {name} is not finite at step {step} (loss {loss:.4g}): "
                    "try a lower train.learning_rate."
                )
    raise DivergenceError(
        f"the loss is {loss} at step {step} though every parameter and gradient is finite: the outputs "
        "have overflowed; try a lower train.learning_rate."
    )


def _parameters_are_finite(model: nn.Module, placement: Placement) -> bool:
    return all(bool(placement.whole(parameter).isfinite().all()) for parameter in model.parameters())


def check_evaluation(step: int, loss: float, value: float) -> None:
    """Check the validation loss, and the value that ranks models.

    Raises:
        DivergenceError: if one is not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(value)):
        raise DivergenceError(
            f"the validation loss is {loss} after step {step}: try a lower train.learning_rate."
        )

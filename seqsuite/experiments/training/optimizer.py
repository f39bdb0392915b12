"""The optimizer with the right parameter groups, and the learning rate over the steps."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from seqsuite.experiments.config.schema import TrainConfig

ADAM_EPSILON = 1e-8


class Optimizer:
    """One or two of PyTorch's optimizers that take steps together.

    Args:
        parts: The optimizers; a rate is the first's, and the others' are in proportion to their own.
    """

    def __init__(self, parts: Iterable[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        self._proportions = [
            group["lr"] / self.parts[0].defaults["lr"] for part in self.parts for group in part.param_groups
        ]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for group, proportion in zip(self.param_groups, self._proportions, strict=True):
            group["lr"] = rate * proportion

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, scaler: GradScaler) -> None:
        """Take a step; a scaler that found infinite gradients skips it."""
        for part in self.parts:
            scaler.step(part)
        scaler.update()

    def unscale(self, scaler: GradScaler) -> None:
        """Divide the gradients by the loss's scale, so that they can be clipped."""
        if scaler.is_enabled():
            for part in self.parts:
                scaler.unscale_(part)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the state of all parts."""
        return [part.state_dict() for part in self.parts]

    def likes(self) -> dict[str, Tensor]:
        """Return the parameters that :meth:`state_dict` has entries of, by names such as ``0.state.3``."""
        return {
            f"{number}.state.{place}": parameter
            for number, part in enumerate(self.parts)
            for place, parameter in enumerate(_parameters(part))
        }

    def load_state_dict(self, states: list[dict[str, Any]], cut: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Restore what :meth:`state_dict` returned.

        Args:
            states: The state of all parts, of whole tensors or of such as are split already.
            cut: Returns of a whole tensor what belongs to a parameter (see ``Placement.cut``).
        """
        for part, state in zip(self.parts, states, strict=True):
            parameters = _parameters(part)
            own = {
                number: {key: cut(value, parameters[number]) for key, value in kept.items()}
                for number, kept in state["state"].items()
            }
            part.load_state_dict({**state, "state": own})


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the configured optimizer: ``"adamw"``, or ``"muon"`` for matrices and AdamW for the rest.

    Matrices decay; everything else does not: biases, norms, embeddings and parameters that their layer names
    in ``no_weight_decay`` (Δ, A, D and the like) are exempt, as in the Mamba and S4 papers' recipes. Muon's
    rate is ``train.muon_rate`` times AdamW's, scaled for each matrix's shape as Jordan et al. (2024) do.
    """
    decayed, exempt = _groups(model)
    adam: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": ADAM_EPSILON,
    }
    exempt_group = {"params": exempt, "weight_decay": 0.0}
    if config.optimizer == "adamw":
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, exempt_group]
        # Fused: one pass over each parameter, on CPUs as on GPUs.
        return Optimizer([torch.optim.AdamW(groups, fused=True, **adam)])
    matrices = [parameter for parameter in decayed if parameter.ndim == 2]
    others = [parameter for parameter in decayed if parameter.ndim != 2]
    groups = [{"params": others, "weight_decay": config.weight_decay}, exempt_group]
    parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, fused=True, **adam)]
    if matrices:
        rate = config.learning_rate * config.muon_rate
        parts.append(torch.optim.Muon(matrices, lr=rate, weight_decay=config.weight_decay))
    return Optimizer(parts)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of step ``step`` (the first is 0): linear warm-up, then the schedule.

    ``"cosine"`` and ``"linear"`` fall to ``min_learning_rate`` at the end; ``"wsd"`` (warm-up, stable, decay;
    Hu et al., 2024) stays at the peak and falls linearly over the last ``train.decay`` of the steps.
    """
    peak, floor = config.learning_rate, min(config.min_learning_rate, config.learning_rate)
    warmup_steps = round(config.warmup * config.steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    start = warmup_steps
    if config.schedule == "wsd":
        start = max(warmup_steps, config.steps - round(config.decay * config.steps))
    if config.schedule == "constant" or step < start:
        return peak
    progress = (step - start) / (config.steps - start)
    if config.schedule == "cosine":
        return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2
    return peak + (floor - peak) * progress


def _parameters(part: torch.optim.Optimizer) -> list[Tensor]:
    """Return an optimizer's parameters in the order of its state's numbers."""
    return [parameter for group in part.param_groups for parameter in group["params"]]


def _groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that decay, and those that are exempt."""
    named = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, nn.Embedding) or name in getattr(module, "no_weight_decay", ())
    }
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for parameter in model.parameters():
        (exempt if parameter.ndim < 2 or id(parameter) in named else decayed).append(parameter)
    return decayed, exempt

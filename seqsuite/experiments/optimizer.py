"""AdamW with the right parameter groups, and the learning rate over the steps."""

import math

import torch
from torch import nn

from seqsuite.experiments.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over two groups: matrices decay; everything else does not.

    Biases, norms, embeddings and parameters that their layer names in ``no_weight_decay`` (Δ, A, D and the
    like) are exempt, as in the Mamba and S4 papers' recipes.
    """
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
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    # Fused: one pass over each parameter, on CPUs as on GPUs.
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=1e-8, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of step ``step`` (the first is 0): linear warm-up, then cosine or constant."""
    warmup_steps = round(config.warmup * config.steps)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    floor = min(config.min_learning_rate, config.learning_rate)
    progress = (step - warmup_steps) / max(1, config.steps - warmup_steps)
    return floor + (config.learning_rate - floor) * (1 + math.cos(math.pi * progress)) / 2

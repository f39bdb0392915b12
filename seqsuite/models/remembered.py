"""What a position still holds of the positions before it, in one form for states, kernels and attention."""

from collections.abc import Mapping

import torch
from torch import Tensor

from seqsuite.models.base import Inspected

GROUPS = 4
"""Groups that channels are shown in, from those that forget first to those that forget last."""


def remembered(decided: Mapping[str, Inspected]) -> tuple[str, list[str], Tensor] | None:
    """Return what position t remembers of position s, from what a mixer decided on one sequence.

    Args:
        decided: What :meth:`seqsuite.models.base.Mixer.inspect` returned for a batch of one.

    Returns:
        What is shown (``"decay"``: the product of the decays after s, up to t; ``"weights"``: attention's;
        ``"kernel"``: the magnitude |K| at lag t - s, of its largest), a name for each of G groups or heads,
        and the numbers (G, t, s), in [0, 1] and zero where s > t; ``None`` if the mixer shows none of these.
    """
    if "weights" in decided:
        weights = decided["weights"].values[0].float()
        return "weights", [f"head {head + 1}" for head in range(len(weights))], weights
    if "decay" in decided:
        found = decided["decay"]
        decay = found.values.select(found.axes.index("batch"), 0).abs().double()
        return "decay", *_kept(decay.flatten(1))
    if "kernel" in decided:
        return "kernel", *_lagged(decided["kernel"].values.abs().flatten(0, -2).double())
    return None


def by_time_constant(decay: Tensor) -> Tensor:
    """Return the order of the channels of decays (L, D, …), those first that forget first."""
    return decay.abs().transpose(0, 1).flatten(1).mean(1).argsort()


def _names(count: int) -> list[str]:
    return [f"channels {group + 1} of {count}, by time constant" for group in range(count)]


def _kept(decay: Tensor) -> tuple[list[str], Tensor]:
    """Return means over groups of states of the products of decays (L, D N)."""
    logs = decay.clamp_min(1e-30).log()
    groups = logs.mean(0).argsort().tensor_split(min(GROUPS, logs.shape[1]))
    sums = logs.cumsum(0)
    length = len(logs)
    kept = torch.zeros(len(groups), length, length)
    for start in range(length):
        shares = (sums[start:] - sums[start]).exp()
        for group, states in enumerate(groups):
            kept[group, start:, start] = shares[:, states].mean(1)
    return _names(len(groups)), kept


def _lagged(kernel: Tensor) -> tuple[list[str], Tensor]:
    """Return kernels' magnitudes (D, L), of their largest, as matrices by group of channels."""
    length = kernel.shape[1]
    lags = torch.arange(length, dtype=kernel.dtype)
    centres = (kernel * lags).sum(1) / kernel.sum(1).clamp_min(1e-30)
    groups = centres.argsort().tensor_split(min(GROUPS, len(kernel)))
    back = torch.arange(length).unsqueeze(1) - torch.arange(length)
    shares = kernel / kernel.amax(1, keepdim=True).clamp_min(1e-30)
    means = torch.stack([shares[group].mean(0) for group in groups])
    return _names(len(groups)), (means[:, back.clamp_min(0)] * (back >= 0)).float()

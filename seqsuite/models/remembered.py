"""What a position still holds of the positions before it, in one form for states, kernels and attention."""

from collections.abc import Mapping

import torch
from torch import Tensor

from seqsuite.models.base import Inspected

GROUPS = 4
"""Groups that channels are shown in, from those that forget first to those that forget last."""

Decided = Mapping[str, Inspected]
"""What :meth:`seqsuite.models.base.Mixer.inspect` returned for a batch of one."""


def remembered(decided: Decided) -> tuple[str, list[str], Tensor] | None:
    """Return what position t remembers of position s, from what a mixer decided on one sequence.

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


def read_shares(decided: Decided) -> Tensor | None:
    """Return which share of what is read at t came in at s, (t, s): rows sum to one, but to zero for nothing.

    Of a layer with a state it is |C_t Π decays Δ_s B_s x_s|, or |K_{t−s} x_s| of one with a kernel, summed
    over the channels: what was let in at s, what is left of it, and whether it is looked at, in one number.
    The skip, which goes past the state, does not count. Of attention it is the mean of its heads' weights.

    Returns:
        The shares, or ``None`` if the mixer does not show what they are made of.
    """
    if "weights" in decided:
        read = decided["weights"].values[0].abs().double().mean(0)
    elif {"decay", "state", "C"} <= decided.keys() and decided["state"].values.dim() == 4:
        read = _read_of_states(*(decided[name].values[0] for name in ("decay", "state", "C")))
    elif {"kernel", "input"} <= decided.keys() and decided["kernel"].values.dim() == 2:
        kernel, x = decided["kernel"].values.abs().double(), decided["input"].values[0].abs().double()
        back = _lags(len(x))
        read = torch.einsum("dts,sd->ts", kernel[:, back.clamp_min(0)] * (back >= 0), x)
    else:
        return None
    return read / read.sum(1, keepdim=True).clamp_min(1e-30)


def by_time_constant(decided: Decided) -> Tensor | None:
    """Return the order of the channels of a layer, those first that forget first; ``None`` if it shows none.

    A selective channel's place is by its mean decay, a convolution's by the centre of its kernel's magnitude.
    """
    if "decay" in decided and "position" in decided["decay"].axes:
        decay = decided["decay"].values[0].abs().double()
        return decay.flatten(2).mean((0, 2)).argsort() if decay.dim() > 2 else decay.mean(0).argsort()
    if "kernel" in decided and decided["kernel"].values.dim() == 2:
        return _centres(decided["kernel"].values.abs().double()).argsort()
    return None


def _names(count: int) -> list[str]:
    return [f"channels {group + 1} of {count}, by time constant" for group in range(count)]


def _lags(length: int) -> Tensor:
    """Return t − s as a matrix (t, s)."""
    return torch.arange(length).unsqueeze(1) - torch.arange(length)


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


def _centres(kernel: Tensor) -> Tensor:
    """Return the mean lag of kernels' magnitudes (D, L)."""
    lags = torch.arange(kernel.shape[1], dtype=kernel.dtype)
    return (kernel * lags).sum(1) / kernel.sum(1).clamp_min(1e-30)


def _lagged(kernel: Tensor) -> tuple[list[str], Tensor]:
    """Return kernels' magnitudes (D, L), of their largest, as matrices by group of channels."""
    groups = _centres(kernel).argsort().tensor_split(min(GROUPS, len(kernel)))
    back = _lags(kernel.shape[1])
    shares = kernel / kernel.amax(1, keepdim=True).clamp_min(1e-30)
    means = torch.stack([shares[group].mean(0) for group in groups])
    return _names(len(groups)), (means[:, back.clamp_min(0)] * (back >= 0)).float()


def _read_of_states(decay: Tensor, state: Tensor, C: Tensor) -> Tensor:
    """Return the magnitudes (t, s) of what C (L, N) or (L, D, N) reads at t of what came in at s.

    Args:
        decay: (L, D, N).
        state: (L, D, N), from which what came in is known: h_s less what was kept of h_{s−1}.
        C: What is read of the state.
    """
    before = torch.cat([torch.zeros_like(state[:1]), state[:-1]])
    fed = state - decay * before
    C = C if C.dim() == 3 else C.unsqueeze(1)
    carried = torch.zeros_like(fed)
    read = torch.zeros(len(state), len(state), dtype=torch.float64)
    for t in range(len(state)):
        carried[:t] *= decay[t]
        carried[t] = fed[t]
        read[t, : t + 1] = (carried[: t + 1] * C[t]).sum(-1).real.abs().sum(-1)
    return read

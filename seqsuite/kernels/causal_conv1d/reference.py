"""Causal depthwise convolution in plain PyTorch, tap by tap: the oracle."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.checks import sequence_offsets


def causal_conv1d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    """Convolve; :func:`seqsuite.kernels.causal_conv1d` says what the arguments mean."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    outputs = []
    for part, history in _sequences(x, weight.shape[1] - 1, initial_state, cu_seqlens):
        padded = torch.cat([history, part], dim=1).to(dtype)
        taps = [weight[:, k] * padded[:, k : k + part.shape[1]] for k in range(weight.shape[1])]
        y = sum(taps[1:], taps[0])
        outputs.append(y if bias is None else y + bias)
    y = torch.cat(outputs, dim=1)
    return (F.silu(y) if activation else y).to(x.dtype)


def last_inputs(x: Tensor, count: int, initial_state: Tensor | None, cu_seqlens: Tensor | None) -> Tensor:
    """Return the last ``count`` inputs of each sequence, (B, count, D), with the history where one is short.

    Args:
        x: Inputs (B, L, D).
        count: How many.
        initial_state: The ``count`` inputs before the first, zeros if not given.
        cu_seqlens: Offsets (S + 1,) of packed sequences; the result is (S, count, D) then.
    """
    length = x.shape[1]
    # torch.export traces one side of a branch for all lengths, and what follows is right for any.
    if cu_seqlens is None and not torch.compiler.is_compiling() and length >= count:
        return x[:, length - count :].clone()  # a view would keep all of x in memory
    if initial_state is None:
        sequences = len(x) if cu_seqlens is None else len(cu_seqlens) - 1
        initial_state = x.new_zeros(sequences, count, x.shape[2])
    if cu_seqlens is None:
        return torch.cat([initial_state, x], dim=1)[:, length:]
    if length == 0:
        return torch.cat([initial_state, x.expand(len(initial_state), -1, -1)], dim=1)
    starts, ends = cu_seqlens[:-1].long().unsqueeze(1), cu_seqlens[1:].long().unsqueeze(1)
    positions = ends - count + torch.arange(count, device=x.device)
    rows = torch.arange(len(initial_state), device=x.device).unsqueeze(1)
    before = initial_state[rows, (positions - starts + count).clamp_max(count - 1)]
    return torch.where((positions >= starts).unsqueeze(2), x[0, positions.clamp_min(0)], before)


def _sequences(
    x: Tensor, count: int, initial_state: Tensor | None, cu_seqlens: Tensor | None
) -> list[tuple[Tensor, Tensor]]:
    """Return the sequences that are to be kept apart, and the ``count`` inputs before each."""
    if cu_seqlens is None:
        parts = [x]
    else:
        offsets = sequence_offsets(cu_seqlens, x.shape[1])
        parts = [x[:, start:end] for start, end in pairwise(offsets)]
    if initial_state is None:
        return [(part, x.new_zeros(x.shape[0], count, x.shape[2])) for part in parts]
    return list(zip(parts, initial_state.chunk(len(parts)), strict=True))

"""The function of `mamba_ssm <https://github.com/state-spaces/mamba>`_ that Mamba-2 calls."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.compatibility.arguments import check_forms
from seqsuite.kernels.compatibility.packing import pack
from seqsuite.kernels.ssd import ssd

NAME = "mamba_chunk_scan_combined"


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    return_varlen_states: bool = False,
    state_dtype: torch.dtype | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """Call :func:`seqsuite.kernels.ssd` with a gate, a skip of each channel, bounds of Δ and ``seq_idx``.

    Args:
        x, z: (B, L, H, P).
        dt: (B, L, H).
        A: (H,).
        B, C: (B, L, G, N).
        chunk_size: Positions a chunk.
        D: (H,), or (H, P) for a skip of each channel.
        dt_bias: (H,).
        initial_states: (B, H, P, N).
        seq_idx: (B, L), whole numbers: no state passes where they change. An initial state is that of
            sequence 0, and of no use to a row that begins with another.
        cu_seqlens: Offsets (S + 1,) for ``return_varlen_states``, with B = 1; alone they separate nothing.
        dt_softplus: Whether Δ is the softplus of dt (and its bias).
        dt_limit: Least and largest Δ.
        return_final_states: Whether to return the states (B, H, P, N) after the last positions too.
        return_varlen_states: Whether to return the states (S, H, P, N) of ``cu_seqlens``' sequences too.
        state_dtype: Dtype of the returned states; they are computed in float32 at least.

    Returns:
        y (B, L, H, P) in x's dtype, or a tuple of it and the states that were asked for, in this order.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    arguments = {
        "x": (x, "(B, L, H, P)"),
        "z": (z, "(B, L, H, P)"),
        "dt": (dt, "(B, L, H)"),
        "dt_bias": (dt_bias, "(H,)"),
        "A": (A, "(H,)"),
        "D": (D, "(H, P)" if D is not None and D.dim() == 2 else "(H,)"),
        "B": (B, "(B, L, G, N)"),
        "C": (C, "(B, L, G, N)"),
        "initial_states": (initial_states, "(B, H, P, N)"),
    }
    check_forms(NAME, arguments)
    wide = torch.promote_types(x.dtype, torch.float32)
    delta = dt.to(wide) if dt_bias is None else dt.to(wide) + dt_bias
    delta = F.softplus(delta) if dt_softplus else delta
    delta = delta.clamp(*dt_limit)
    inputs = (x.to(wide), delta, A, B, C)
    y, final = _scan(inputs, initial_states, seq_idx, chunk_size)
    if D is not None:
        y = y + (D if D.dim() == 2 else D.unsqueeze(-1)) * x.to(wide)
    if z is not None:
        y = y * F.silu(z.to(wide))
    outputs = [y.to(x.dtype)]
    if return_final_states:
        outputs.append(final.to(state_dtype or final.dtype))
    if return_varlen_states:
        if cu_seqlens is None:
            raise ValueError(f"{NAME}: return_varlen_states needs cu_seqlens")
        _, states = ssd(*inputs, cu_seqlens=cu_seqlens, return_final_state=True, chunk_size=chunk_size)
        outputs.append(states.to(state_dtype or states.dtype))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _scan(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    initial: Tensor | None,
    seq_idx: Tensor | None,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    """Return outputs and final states, of rows or of the sequences within them."""
    x, delta, A, B, C = inputs
    if seq_idx is None:
        return ssd(x, delta, A, B, C, initial_state=initial, return_final_state=True, chunk_size=chunk_size)
    batch, length = x.shape[:2]
    if seq_idx.shape != (batch, length):
        raise ValueError(
            f"{NAME}: seq_idx must have shape (B, L) = {(batch, length)}, not {tuple(seq_idx.shape)}"
        )
    packing = pack(seq_idx)
    flat = [t.reshape(1, batch * length, *t.shape[2:]) for t in (x, delta, B, C)]
    state = None
    if initial is not None:
        zeros = initial.new_zeros(len(packing.cu_seqlens) - 1, *initial.shape[1:])
        used = (seq_idx[:, 0] == 0).reshape(-1, 1, 1, 1)
        state = zeros.index_copy(0, packing.first, torch.where(used, initial, 0))
    y, states = ssd(
        flat[0],
        flat[1],
        A,
        flat[2],
        flat[3],
        initial_state=state,
        cu_seqlens=packing.cu_seqlens,
        return_final_state=True,
        chunk_size=chunk_size,
    )
    return y.reshape(x.shape), states[packing.last]

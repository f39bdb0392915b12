"""The functions of `causal-conv1d <https://github.com/Dao-AILab/causal-conv1d>`_: channels before time."""

from typing import Literal, overload

import torch
from torch import Tensor

from seqsuite.kernels.causal_conv1d import causal_conv1d
from seqsuite.kernels.compatibility.arguments import check_forms
from seqsuite.kernels.compatibility.packing import pack

Activation = Literal["silu", "swish"] | None

NAME, UPDATE = "causal_conv1d_fn", "causal_conv1d_update"


@overload
def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: Literal[False] = False,
    final_states_out: Tensor | None = None,
    activation: Activation = None,
) -> Tensor: ...


@overload
def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    *,
    return_final_states: Literal[True],
    final_states_out: Tensor | None = None,
    activation: Activation = None,
) -> tuple[Tensor, Tensor]: ...


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: Activation = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Call :func:`seqsuite.kernels.causal_conv1d` on (B, D, L).

    Args:
        x: (B, D, L).
        weight: (D, K).
        bias: (D,).
        seq_idx: (B, L), whole numbers: no tap reaches over a position where they change, and where they are
            negative (padding) the output is 0.
        initial_states: (B, D, K − 1), the inputs before the first.
        return_final_states: Whether to return the last K − 1 inputs too.
        final_states_out: (B, D, K − 1), which these are written to.
        activation: ``"silu"``, or ``"swish"``, which is the same, or ``None``.

    Returns:
        (B, D, L) in x's dtype, or this and the final states (B, D, K − 1).

    Raises:
        TypeError, ValueError: an argument has a dtype, shape or value that it cannot have, or ``seq_idx``
            comes with states, which would belong to one of its sequences only.
    """
    silu = _is_silu(activation)
    sizes = check_forms(NAME, {"x": (x, "(B, D, L)"), "weight": (weight, "(D, K)"), "bias": (bias, "(D,)")})
    states = {"initial_states": initial_states, "final_states_out": final_states_out}
    form = "(B, D, K - 1)"
    check_forms(NAME, {name: (t, form) for name, t in states.items()}, sizes | {"K - 1": sizes["K"] - 1})
    if seq_idx is not None:
        if initial_states is not None or return_final_states:
            raise ValueError(f"{NAME}: seq_idx and states cannot be combined")
        return _convolve_packed(x, weight, bias, seq_idx, silu)
    state = None if initial_states is None else initial_states.transpose(1, 2)
    y, after = causal_conv1d(
        x.transpose(1, 2), weight, bias, activation=silu, initial_state=state, return_final_state=True
    )
    y = y.transpose(1, 2)
    if not return_final_states:
        return y
    final = after.transpose(1, 2)
    return y, final if final_states_out is None else final_states_out.copy_(final)


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: Activation = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """Convolve the next positions, and put them into the state in place.

    Args:
        x: (B, D), or (B, D, L) for several positions.
        conv_state: (B, D, S), S ≥ K − 1, the last inputs, the newest last; changed in place.
        weight: (D, K).
        bias: (D,).
        activation: ``"silu"``, ``"swish"`` or ``None``.
        cache_seqlens: (B,), how many inputs each sequence has had: the state is then a ring, in which input t
            stands at t mod S.
        conv_state_indices: (B,), which rows of a larger state are meant.

    Returns:
        Of x's shape and dtype.

    Raises:
        TypeError, ValueError: an argument has a dtype, shape or value that it cannot have.
    """
    silu = _is_silu(activation)
    inputs = x.unsqueeze(-1) if x.dim() == 2 else x
    arguments = {
        "x": (x, "(B, D)" if x.dim() == 2 else "(B, D, L)"),
        "weight": (weight, "(D, K)"),
        "bias": (bias, "(D,)"),
        "conv_state": (conv_state, "(B, D, S)" if conv_state_indices is None else "(rows, D, S)"),
    }
    sizes = check_forms(UPDATE, arguments)
    taps, size = sizes["K"], sizes["S"]
    if size < taps - 1:
        raise ValueError(
            f"{UPDATE}: conv_state must hold K - 1 = {taps - 1} inputs, but has shape "
            f"{tuple(conv_state.shape)}"
        )
    state = conv_state if conv_state_indices is None else conv_state[conv_state_indices]
    if cache_seqlens is None:
        history = state[..., size - taps + 1 :]
        after = torch.cat([state, inputs.to(state.dtype)], dim=-1)[..., -size:]
    else:
        before = _ring(torch.arange(1 - taps, 0, device=x.device), cache_seqlens, state)
        history = state.gather(2, before)
        # Of more inputs than the ring holds only the last ones stay.
        kept = torch.arange(max(inputs.shape[-1] - size, 0), inputs.shape[-1], device=x.device)
        newest = inputs[..., kept].to(state.dtype)
        after = state.scatter(2, _ring(kept, cache_seqlens, state), newest)
    y = causal_conv1d(
        inputs.transpose(1, 2), weight, bias, activation=silu, initial_state=history.transpose(1, 2)
    ).transpose(1, 2)
    with torch.no_grad():
        if conv_state_indices is None:
            conv_state.copy_(after)
        else:
            conv_state[conv_state_indices] = after
    return y.squeeze(-1) if x.dim() == 2 else y


def _ring(places: Tensor, seen: Tensor, state: Tensor) -> Tensor:
    """Return where inputs at ``places`` (P,) after those seen stand in a ring, (B, D, P)."""
    index = torch.remainder(seen.long().unsqueeze(1) + places, state.shape[-1])
    return index.unsqueeze(1).expand(-1, state.shape[1], -1)


def _convolve_packed(x: Tensor, weight: Tensor, bias: Tensor | None, seq_idx: Tensor, silu: bool) -> Tensor:
    batch, width, length = x.shape
    if seq_idx.shape != (batch, length):
        raise ValueError(
            f"{NAME}: seq_idx must have shape (B, L) = {(batch, length)}, not {tuple(seq_idx.shape)}"
        )
    flat = x.transpose(1, 2).reshape(1, batch * length, width)
    y = causal_conv1d(flat, weight, bias, activation=silu, cu_seqlens=pack(seq_idx).cu_seqlens)
    y = y.reshape(batch, length, width).transpose(1, 2)
    return y.masked_fill(seq_idx.unsqueeze(1) < 0, 0)


def _is_silu(activation: str | None) -> bool:
    if activation not in (None, "silu", "swish"):
        raise ValueError(f"activation must be None, 'silu' or 'swish', not {activation!r}")
    return activation is not None

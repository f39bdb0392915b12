"""Functions of `flash-linear-attention <https://github.com/fla-org/flash-linear-attention>`_.

Its conventions: queries are scaled by K^(−1/2) unless ``scale`` is given, states are (K, V) with the keys'
channels first (ours are (V, K)), and a final state is returned only if asked for, else ``None`` in its place.
Its chunked and its recurrent functions compute the same; here both do so by the fastest form that there is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.compatibility.arguments import check_forms
from seqsuite.kernels.gated_delta_rule import gated_delta_rule
from seqsuite.kernels.ssd import ssd

_LEAST_SUM = 1e-10  # added to linear attention's denominator
_LEAST_SQUARE = 1e-6  # added to a squared norm

DELTA_RULE = "chunk_gated_delta_rule"

NormalisedState = tuple[Tensor, Tensor]
"""States of keys times values, (N, H, K, V), and of keys alone, (N, 1, H, K)."""


def chunk_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Retention: o_t = scale · S_tᵀ q_t with S_t = γ_h S_{t−1} + k_t v_tᵀ and γ_h = 1 − 2^(−5 − h).

    Args:
        q, k: (B, T, H, K).
        v: (B, T, H, V).
        scale: Factor of the queries; K^(−1/2) if not given.
        initial_state: (N, H, K, V), N = B or the number of packed sequences.
        output_final_state: Whether to return the state after the last position.
        cu_seqlens: Offsets (N + 1,) of sequences packed along T, with B = 1.

    Returns:
        o (B, T, H, V) in v's dtype, and the final state, in float32 at least, or ``None``.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    sizes = _check_heads("chunk_retention", q, k, v, cu_seqlens)
    check_forms("chunk_retention", {"initial_state": (initial_state, "(N, H, K, V)")}, sizes)
    heads = torch.arange(v.shape[2], device=v.device, dtype=_wide(v))
    log_gamma = torch.log1p(-(2.0 ** (-5.0 - heads)))
    o, state = _decayed(q, k, v, log_gamma, scale, _swapped(initial_state), cu_seqlens)
    return o.to(v.dtype), _swapped(state) if output_final_state else None


def fused_recurrent_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Compute :func:`chunk_retention`.

    Args:
        q, k, v, scale, initial_state, output_final_state, cu_seqlens: See there.
        reverse: Not supported: a causal layer runs forward.
        state_v_first: Whether states are (N, H, V, K).

    Raises:
        TypeError, ValueError: an argument has a dtype, shape or value it cannot have.
    """
    _check_forward(reverse)
    state = _swapped(initial_state) if state_v_first else initial_state
    o, after = chunk_retention(q, k, v, scale, state, output_final_state, cu_seqlens)
    return o, _swapped(after) if state_v_first else after


def chunk_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | NormalisedState | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | NormalisedState | None]:
    """Linear attention: retention without decay, divided by scale · q_t · Σ_{s ≤ t} k_s unless told not to.

    Args:
        q, k: (B, T, H, K), after whatever feature map.
        v: (B, T, H, V).
        scale, cu_seqlens: See :func:`chunk_retention`.
        initial_state: (N, H, K, V); with ``normalize`` a pair of it and the sum of keys (N, 1, H, K), which
            is zero where only the first is given.
        output_final_state: Whether to return the state after the last position, of the initial one's form.
        normalize: Whether to divide.

    Returns:
        o (B, T, H, V) in v's dtype, and the final state, in float32 at least, or ``None``.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    if isinstance(initial_state, tuple) and not normalize:
        raise ValueError("chunk_linear_attn: without normalize the state is one tensor (N, H, K, V)")
    products, keys = initial_state if isinstance(initial_state, tuple) else (initial_state, None)
    states = {"initial_state": (products, "(N, H, K, V)"), "the sum of keys": (keys, "(N, 1, H, K)")}
    check_forms("chunk_linear_attn", states, _check_heads("chunk_linear_attn", q, k, v, cu_seqlens))
    no_decay = torch.zeros(v.shape[2], device=v.device, dtype=_wide(v))
    if not normalize:
        o, state = _decayed(q, k, v, no_decay, scale, _swapped(products), cu_seqlens)
        return o.to(v.dtype), _swapped(state) if output_final_state else None
    # The denominator is one more value, the constant 1: its state is the sum of the keys.
    values = F.pad(v, (0, 1), value=1.0)
    o, state = _decayed(q, k, values, no_decay, scale, _joined(products, keys), cu_seqlens)
    o = (o[..., :-1] / (o[..., -1:] + _LEAST_SUM)).to(v.dtype)
    if not output_final_state:
        return o, None
    return o, (state[..., :-1, :].transpose(-1, -2), state[..., -1, :].unsqueeze(1))


def fused_recurrent_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | NormalisedState | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | NormalisedState | None]:
    """Compute :func:`chunk_linear_attn`, whose default of ``normalize`` is another.

    Raises:
        TypeError, ValueError: an argument has a dtype, shape or value it cannot have, such as ``reverse``.
    """
    _check_forward(reverse)
    return chunk_linear_attn(q, k, v, scale, initial_state, output_final_state, normalize, cu_seqlens)


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Call :func:`seqsuite.kernels.gated_delta_rule`.

    Args:
        q, k: (B, T, H, K).
        v: (B, T, HV, V); HV is a multiple of H, and HV / H heads of values share a head of queries and keys.
        g: Logarithms of the decay (B, T, HV).
        beta: (B, T, HV), from 0 to 1.
        scale, cu_seqlens: See :func:`chunk_retention`.
        initial_state: (N, HV, K, V).
        output_final_state: Whether to return the state after the last position.
        use_qk_l2norm_in_kernel: Whether to bring queries and keys to norm 1 first.
        use_beta_sigmoid_in_kernel: Whether ``beta`` is what the sigmoid is to be taken of.
        allow_neg_eigval: Whether twice that sigmoid is meant.
        state_v_first: Whether states are (N, HV, V, K).
        use_gate_in_kernel: Whether the decay's logarithm is −exp(A_log) · softplus(g + dt_bias).
        A_log, dt_bias: (HV,), for that.

    Returns:
        o (B, T, HV, V) in v's dtype, and the final state, in float32 at least, or ``None``.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have, or lacks another.
    """
    sizes = _check_heads(DELTA_RULE, q, k, v, cu_seqlens, "HV")
    heads, value_heads = sizes["H"], sizes["HV"]
    if heads == 0 or value_heads % heads:
        raise ValueError(f"{DELTA_RULE}: v must have a multiple of k's {heads} heads, not {value_heads}")
    if use_gate_in_kernel and A_log is None:
        raise ValueError(f"{DELTA_RULE}: use_gate_in_kernel needs A_log")
    if allow_neg_eigval and not use_beta_sigmoid_in_kernel:
        raise ValueError(f"{DELTA_RULE}: allow_neg_eigval needs use_beta_sigmoid_in_kernel")
    arguments = {
        "g": (g, "(B, T, HV)"),
        "beta": (beta, "(B, T, HV)"),
        "A_log": (A_log, "(HV,)"),
        "dt_bias": (dt_bias, "(HV,)"),
        "initial_state": (initial_state, "(N, HV, V, K)" if state_v_first else "(N, HV, K, V)"),
    }
    check_forms(DELTA_RULE, arguments, sizes)
    wide = _wide(v)
    if A_log is not None and use_gate_in_kernel:
        raw = g.to(wide) if dt_bias is None else g.to(wide) + dt_bias
        g = -torch.exp(A_log.to(wide)) * F.softplus(raw)
    if use_beta_sigmoid_in_kernel:
        beta = torch.sigmoid(beta.to(wide)) * (2 if allow_neg_eigval else 1)
    queries, keys = q.to(wide), k.to(wide)
    if use_qk_l2norm_in_kernel:
        queries, keys = (
            t * torch.rsqrt(t.square().sum(-1, keepdim=True) + _LEAST_SQUARE) for t in (queries, keys)
        )
    repeats = value_heads // heads
    o, state = gated_delta_rule(
        (queries * _scale(scale, k)).repeat_interleave(repeats, dim=2),
        keys.repeat_interleave(repeats, dim=2),
        v,
        g.to(wide),
        beta.to(wide),
        initial_state=initial_state if state_v_first else _swapped(initial_state),
        cu_seqlens=cu_seqlens,
    )
    if not output_final_state:
        return o, None
    return o, state if state_v_first else _swapped(state)


def fused_recurrent_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Compute :func:`chunk_gated_delta_rule`, with its arguments in another order.

    Args:
        g: See there; no decay if not given.
        gk, gv: Not supported: decays of each channel.
        beta: See there; 1 if not given.
        q, k, v, scale, initial_state, output_final_state, use_qk_l2norm_in_kernel, use_gate_in_kernel, A_log,
            dt_bias, use_beta_sigmoid_in_kernel, allow_neg_eigval, state_v_first, cu_seqlens: See there.

    Raises:
        TypeError, ValueError: an argument has a dtype, shape or value it cannot have.
    """
    if gk is not None or gv is not None:
        raise ValueError(
            "fused_recurrent_gated_delta_rule: decays of each channel (gk, gv) are not supported"
        )
    plain = torch.zeros(v.shape[:3], device=v.device, dtype=_wide(v))
    return chunk_gated_delta_rule(
        q,
        k,
        v,
        plain if g is None else g,
        plain + 1 if beta is None else beta,
        scale,
        initial_state,
        output_final_state,
        use_qk_l2norm_in_kernel,
        use_beta_sigmoid_in_kernel,
        allow_neg_eigval,
        state_v_first,
        cu_seqlens,
        use_gate_in_kernel=use_gate_in_kernel,
        A_log=A_log,
        dt_bias=dt_bias,
    )


def _check_heads(
    operation: str, q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor | None, value_heads: str = "H"
) -> dict[str, int]:
    """Check queries, keys and values; return the size of each letter, N among them."""
    forms = {"q": (q, "(B, T, H, K)"), "k": (k, "(B, T, H, K)"), "v": (v, f"(B, T, {value_heads}, V)")}
    sizes = check_forms(operation, forms)
    return sizes | {"1": 1, "N": sizes["B"] if cu_seqlens is None else len(cu_seqlens) - 1}


def _decayed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    scale: float | None,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return outputs (B, T, H, V) in float32 at least, and the final state (N, H, V, K); decays are (H,)."""
    values = v.to(_wide(v))
    return ssd(
        values,
        torch.ones_like(values[..., 0]),
        log_decay,
        k,
        q.to(values.dtype) * _scale(scale, k),
        initial_state=state,
        cu_seqlens=cu_seqlens,
        return_final_state=True,
    )


def _joined(products: Tensor | None, keys: Tensor | None) -> Tensor | None:
    """Return the two states of a normalised linear attention as one, (N, H, V + 1, K)."""
    if products is None:
        return None
    sums = torch.zeros_like(products[..., :1]) if keys is None else keys.squeeze(1).unsqueeze(-1)
    return torch.cat([products, sums.to(products.dtype)], dim=-1).transpose(-1, -2)


def _swapped(state: Tensor | None) -> Tensor | None:
    """Exchange (K, V) and (V, K)."""
    return None if state is None else state.transpose(-1, -2)


def _scale(scale: float | None, k: Tensor) -> float:
    factor: float = k.shape[-1] ** -0.5 if scale is None else scale
    return factor


def _wide(v: Tensor) -> torch.dtype:
    return torch.promote_types(v.dtype, torch.float32)


def _check_forward(reverse: bool) -> None:
    if reverse:
        raise ValueError("reverse is not supported: a causal layer runs forward in time")

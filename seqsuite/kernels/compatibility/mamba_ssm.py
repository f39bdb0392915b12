"""The functions of `mamba_ssm <https://github.com/state-spaces/mamba>`_ that Mamba and its norms call."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.checks import check_tensor
from seqsuite.kernels.compatibility.arguments import check_forms
from seqsuite.kernels.rms_norm import rms_norm
from seqsuite.kernels.selective_scan import selective_scan
from seqsuite.kernels.selective_scan.state_update import selective_state_update as advance


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Call :func:`seqsuite.kernels.selective_scan` with channels before time.

    Args:
        u, delta, z: (B, D, L).
        A: (D, N), real or complex.
        B, C: (D, N), constant in time; or (B, N, L); or (B, G, N, L). With a complex A, those that depend on
            time are complex, or real with 2 L in place of L: real and imaginary parts in turn.
        D, delta_bias: (D,).
        delta_softplus: Whether Δ is the softplus of delta (and its bias).
        return_last_state: Whether to return the state after the last position too.

    Returns:
        y (B, D, L), or (y, last state (B, D, N)).

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    channels, (B_form, C_form) = "(B, D, L)", (_form_of(projection, u) for projection in (B, C))
    sizes = check_forms(
        "selective_scan_fn",
        {
            **{name: (t, channels) for name, t in (("u", u), ("delta", delta), ("z", z))},
            "D": (D, "(D,)"),
            "delta_bias": (delta_bias, "(D,)"),
        },
    )
    check_forms(
        "selective_scan_fn",
        {"A": (A, "(D, N)"), "B": (B, B_form), "C": (C, C_form)},
        sizes | {"2 L": 2 * sizes["L"]},
        complex_allowed=True,
    )
    y, last_state = selective_scan(
        u.transpose(1, 2),
        delta.transpose(1, 2),
        A,
        _time_first(_complex_pairs(B, A, u)),
        _time_first(_complex_pairs(C, A, u)),
        D,
        None if z is None else z.transpose(1, 2),
        delta_bias,
        delta_softplus,
        return_final_state=True,
    )
    y = y.transpose(1, 2)
    return (y, last_state) if return_last_state else y


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """Advance the scan by one position, and its state in place.

    With heads there is an H before each D: it is then the number of channels of one head.

    Args:
        state: (B, D, N) or (B, H, D, N); changed in place.
        x, dt, z: (B, D) or (B, H, D).
        A: (D, N) or (H, D, N).
        B, C: (B, N) or (B, G, N).
        D, dt_bias: (D,) or (H, D).
        dt_softplus: Whether the step size is the softplus of dt (and its bias).
        state_batch_indices: (B,), which rows of a larger state are meant.

    Returns:
        y of x's shape and dtype.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    heads = isinstance(state, Tensor) and state.dim() == 4
    each, batch = "H, D" if heads else "D", "B" if state_batch_indices is None else "rows"
    arguments = {
        **{name: (t, f"(B, {each})") for name, t in (("x", x), ("dt", dt), ("z", z))},
        "state": (state, f"({batch}, {each}, N)"),
        "A": (A, f"({each}, N)"),
        **{name: (t, "(B, N)" if t.dim() == 2 else "(B, G, N)") for name, t in (("B", B), ("C", C))},
        **{name: (t, f"({each})" if heads else "(D,)") for name, t in (("D", D), ("dt_bias", dt_bias))},
    }
    check_forms("selective_state_update", arguments)
    before = state if state_batch_indices is None else state[state_batch_indices]

    def flat(values: Tensor, start: int) -> Tensor:
        """Put a head's channels beside the others'."""
        return values.flatten(start, start + 1) if heads else values

    y, after = advance(
        flat(before, 1),
        flat(x, 1),
        flat(dt, 1),
        flat(A, 0),
        B,
        C,
        None if D is None else flat(D, 0),
        None if z is None else flat(z, 1),
        None if dt_bias is None else flat(dt_bias, 0),
        dt_softplus,
    )
    with torch.no_grad():
        if state_batch_indices is None:
            state.copy_(after.reshape(state.shape))
        else:
            state[state_batch_indices] = after.reshape(before.shape).to(state.dtype)
    return y.reshape(x.shape)


def rmsnorm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None = None,
    eps: float = 1e-6,
    group_size: int | None = None,
    norm_before_gate: bool = True,
) -> Tensor:
    """Call :func:`seqsuite.kernels.rms_norm` with groups, a bias, and the gate before it or after it.

    Args:
        x, z: (…, D).
        weight, bias: (D,).
        eps: Added to the mean square.
        group_size: Channels that are normalised together; ``None`` is D.
        norm_before_gate: Whether the result is norm(x) · silu(z), else norm(x · silu(z)).

    Returns:
        Of x's shape and dtype; it is computed in float32 at least.

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    (width,) = check_forms("rmsnorm_fn", {"weight": (weight, "(D,)"), "bias": (bias, "(D,)")}).values()
    check_tensor("rmsnorm_fn", "x", x, "(..., D)", (*x.shape[:-1], width))
    if z is not None:
        check_tensor("rmsnorm_fn", "z", z, "of x", tuple(x.shape))
    size = width if group_size is None else group_size
    if size < 1 or width % size:
        raise ValueError(f"rmsnorm_fn: group_size must divide D = {width}, not {size}")
    wide = torch.promote_types(x.dtype, torch.float32)
    gate = None if z is None else z.to(wide)
    inside = gate if not norm_before_gate else None
    grouped = (*x.shape[:-1], width // size, size)
    y = rms_norm(
        x.to(wide).reshape(grouped),
        torch.ones(size, device=weight.device, dtype=wide),
        eps,
        gate=None if inside is None else inside.reshape(grouped),
    )
    y = y.reshape(x.shape) * weight
    y = y if bias is None else y + bias
    return (y * F.silu(gate) if gate is not None and norm_before_gate else y).to(x.dtype)


def _form_of(projection: Tensor, u: Tensor) -> str:
    """Return the form that B or C seems to have."""
    time = "2 L" if projection.shape[-1:] == (2 * u.shape[-1],) else "L"
    return {2: "(D, N)", 4: f"(B, G, N, {time})"}.get(projection.dim(), f"(B, N, {time})")


def _complex_pairs(projection: Tensor, A: Tensor, u: Tensor) -> Tensor:
    """Return real and imaginary parts that stand in turn along time as complex numbers."""
    length = u.shape[-1]
    interleaved = projection.dim() > 2 and projection.shape[-1] == 2 * length
    if not A.is_complex() or projection.is_complex() or not interleaved:
        return projection
    wide = projection.to(torch.promote_types(projection.dtype, torch.float32))
    return torch.view_as_complex(wide.reshape(*wide.shape[:-1], length, 2))


def _time_first(projection: Tensor) -> Tensor:
    """Return B or C as (B, L, N) or (B, L, G, N); a constant as it is."""
    if projection.dim() == 3:
        return projection.transpose(1, 2)
    return projection.permute(0, 3, 1, 2) if projection.dim() == 4 else projection

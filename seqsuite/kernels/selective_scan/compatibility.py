"""The scan under the name, argument order and (B, D, L) layout that existing Mamba code calls."""

from torch import Tensor

from seqsuite.kernels.selective_scan import selective_scan


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
    """Call :func:`seqsuite.kernels.selective_scan` with channels before time, as mamba-ssm's function does.

    Args:
        u, delta, z: (B, D, L).
        A: (D, N).
        B, C: (D, N), constant in time; or (B, N, L); or (B, G, N, L).
        D, delta_bias: (D,).
        delta_softplus: whether Δ is the softplus of delta (and its bias).
        return_last_state: whether to return the state after the last position too.

    Returns:
        y (B, D, L), or (y, last state (B, D, N)).

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    y, last_state = selective_scan(
        u.transpose(1, 2),
        delta.transpose(1, 2),
        A,
        _time_first(B),
        _time_first(C),
        D,
        None if z is None else z.transpose(1, 2),
        delta_bias,
        delta_softplus,
        return_final_state=True,
    )
    y = y.transpose(1, 2)
    return (y, last_state) if return_last_state else y


def _time_first(projection: Tensor) -> Tensor:
    """Return B or C as (B, L, N) or (B, L, G, N); a constant as it is."""
    if projection.dim() == 3:
        return projection.transpose(1, 2)
    return projection.permute(0, 3, 1, 2) if projection.dim() == 4 else projection

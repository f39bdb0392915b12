"""One position of the selective scan: what a model does for each token that it generates."""

import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.selective_scan.arguments import check_arguments
from seqsuite.kernels.selective_scan.reference import discretise_step_size, real_dtype, state_dtype, step


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
) -> tuple[Tensor, Tensor]:
    """Advance the recurrence of :func:`seqsuite.kernels.selective_scan` by one position.

    Nothing is changed in place: the next state is returned.

    Args:
        state: (B, D, N), as ``selective_scan`` returns it.
        x, dt, z: input, step size and gate (B, D).
        A: (D, N).
        B, C: (B, N), or (B, G, N) for G groups of channels.
        D, dt_bias: (D,).
        dt_softplus: whether the step size is the softplus of dt (and its bias).

    Returns:
        y (B, D) in ``x``'s dtype and the next state (B, D, N).

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    for name, tensor in (("x", x), ("dt", dt)):
        if tensor.dim() != 2:
            raise ValueError(
                f"selective_state_update: {name} must have shape (B, D), not {tuple(tensor.shape)}"
            )
    gate = None if z is None else z.unsqueeze(1)
    check_arguments(
        x.unsqueeze(1), dt.unsqueeze(1), A, B.unsqueeze(1), C.unsqueeze(1), D, gate, dt_bias, state, None
    )
    batch, d_model = x.shape
    groups = 1 if B.dim() == 2 else B.shape[1]
    split = (batch, groups, d_model // groups)
    dtype, real = state_dtype(x, A), real_dtype(x)
    u, delta = x.to(real), discretise_step_size(dt.to(real), dt_bias, dt_softplus)
    y, h = step(
        state.to(dtype).reshape(*split, -1),
        u.reshape(split),
        delta.reshape(split),
        A.to(dtype).reshape(*split[1:], -1),
        *(t.to(t.dtype if t.is_complex() else real).reshape(batch, groups, 1, -1) for t in (B, C)),
    )
    y = y.reshape(batch, d_model)
    if D is not None:
        y = y + D.to(real) * u
    if z is not None:
        y = y * F.silu(z.to(real))
    return y.to(x.dtype), h.reshape(batch, d_model, -1)

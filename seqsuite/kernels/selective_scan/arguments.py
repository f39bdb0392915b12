"""What the scan's arguments must look like."""

from torch import Tensor

from seqsuite.kernels.checks import check_cu_seqlens, check_devices, check_tensor

NAME = "selective_scan"


def check_arguments(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Check shapes, dtypes and devices of the arguments of ``selective_scan``.

    Raises:
        TypeError: an argument is not a tensor or has a dtype it cannot have.
        ValueError: an argument has a shape it cannot have or lies on another device than ``u``.
    """
    check_tensor(NAME, "u", u, "(B, L, D)", (None, None, None))
    batch, seqlen, d_model = u.shape
    check_tensor(NAME, "A", A, "(D, N)", (d_model, None), complex_allowed=True)
    d_state = A.shape[1]
    if 0 in (d_model, d_state):
        raise ValueError(f"{NAME}: D and N must be positive, but A has shape {tuple(A.shape)}")
    if cu_seqlens is not None:
        check_cu_seqlens(NAME, cu_seqlens, "u", u)
    check_tensor(NAME, "delta", delta, "(B, L, D)", (batch, seqlen, d_model))
    if z is not None:
        check_tensor(NAME, "z", z, "(B, L, D)", (batch, seqlen, d_model))
    complex_A = A.is_complex()
    sizes = (batch, seqlen, d_model, d_state)
    _check_projection("B", B, sizes, complex_A)
    _check_projection("C", C, sizes, complex_A)
    if B.dim() > 2 and C.dim() > 2 and B.shape != C.shape:
        raise ValueError(
            f"{NAME}: C must have the shape of B, {tuple(B.shape)}, or (D, N), not {tuple(C.shape)}"
        )
    if D is not None:
        check_tensor(NAME, "D", D, "(D,)", (d_model,))
    if delta_bias is not None:
        check_tensor(NAME, "delta_bias", delta_bias, "(D,)", (d_model,))
    if initial_state is not None:
        sequences = len(cu_seqlens) - 1 if cu_seqlens is not None else batch
        form = "(B, D, N)" if cu_seqlens is None else "(S, D, N) for S packed sequences"
        check_tensor(NAME, "initial_state", initial_state, form, (sequences, d_model, d_state), complex_A)
    others = {
        "delta": delta,
        "A": A,
        "B": B,
        "C": C,
        "D": D,
        "z": z,
        "delta_bias": delta_bias,
        "initial_state": initial_state,
        "cu_seqlens": cu_seqlens,
    }
    check_devices(NAME, "u", u, others)


def _check_projection(
    name: str, tensor: Tensor, sizes: tuple[int, int, int, int], complex_allowed: bool
) -> None:
    batch, seqlen, d_model, d_state = sizes
    if isinstance(tensor, Tensor) and tensor.dim() == 2:
        form = "(B, L, N), (B, L, G, N) or (D, N)"
        check_tensor(NAME, name, tensor, form, (d_model, d_state), complex_allowed)
    elif isinstance(tensor, Tensor) and tensor.dim() == 4:
        groups, form = tensor.shape[2], "(B, L, N), (D, N) or (B, L, G, N)"
        check_tensor(NAME, name, tensor, form, (batch, seqlen, groups, d_state), complex_allowed)
        if groups == 0 or d_model % groups:
            raise ValueError(
                f"{NAME}: {name} has {groups} groups, but their number G must divide D = {d_model}"
            )
    else:
        form = "(D, N), (B, L, G, N) or (B, L, N)"
        check_tensor(NAME, name, tensor, form, (batch, seqlen, d_state), complex_allowed)

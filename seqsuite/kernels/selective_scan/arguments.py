"""What the scan's arguments must look like; complaints name the argument and the shape it should have."""

from itertools import pairwise

import torch
from torch import Tensor

FLOAT_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


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
    _check_tensor("u", u, "(B, L, D)", (None, None, None))
    batch, seqlen, d_model = u.shape
    _check_tensor("A", A, "(D, N)", (d_model, None), complex_allowed=True)
    d_state = A.shape[1]
    if 0 in (d_model, d_state):
        raise ValueError(f"selective_scan: D and N must be positive, but A has shape {_shape(A)}")
    packed = cu_seqlens is not None
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, u)
    _check_tensor("delta", delta, "(B, L, D)", (batch, seqlen, d_model))
    if z is not None:
        _check_tensor("z", z, "(B, L, D)", (batch, seqlen, d_model))
    sizes = (batch, seqlen, d_model, d_state)
    _check_projection("B", B, sizes, A.is_complex())
    _check_projection("C", C, sizes, A.is_complex())
    if B.shape != C.shape:
        raise ValueError(f"selective_scan: C must have the shape of B, {_shape(B)}, not {_shape(C)}")
    if D is not None:
        _check_tensor("D", D, "(D,)", (d_model,))
    if delta_bias is not None:
        _check_tensor("delta_bias", delta_bias, "(D,)", (d_model,))
    if initial_state is not None:
        sequences = len(cu_seqlens) - 1 if cu_seqlens is not None else batch
        form = "(S, D, N) for S packed sequences" if packed else "(B, D, N)"
        _check_tensor("initial_state", initial_state, form, (sequences, d_model, d_state), A.is_complex())
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
    for name, other in others.items():
        if other is not None and other.device != u.device:
            raise ValueError(f"selective_scan: {name} is on {other.device}, but u is on {u.device}")


def check_cu_seqlens(cu_seqlens: Tensor, u: Tensor) -> None:
    """Check the form of ``cu_seqlens``; :func:`sequence_offsets` checks its values where they are read."""
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError("selective_scan: cu_seqlens must be an int32 or int64 tensor of S + 1 offsets")
    if cu_seqlens.dim() != 1 or len(cu_seqlens) < 2:
        raise ValueError(
            f"selective_scan: cu_seqlens must have shape (S + 1,), S >= 1, not {_shape(cu_seqlens)}"
        )
    if u.shape[0] != 1:
        raise ValueError(
            "selective_scan: with cu_seqlens u must have shape (1, L, D), the sequences one after the other, "
            f"not {_shape(u)}"
        )


def sequence_offsets(cu_seqlens: Tensor, seqlen: int) -> list[int]:
    """Return the values of ``cu_seqlens``.

    Raises:
        ValueError: unless they rise from 0 to ``seqlen`` (equal neighbours are an empty sequence).
    """
    offsets: list[int] = cu_seqlens.tolist()
    rising = all(start <= end for start, end in pairwise(offsets))
    if offsets[0] != 0 or offsets[-1] != seqlen or not rising:
        raise ValueError(f"selective_scan: cu_seqlens must rise from 0 to L = {seqlen}, but holds {offsets}")
    return offsets


def _check_projection(
    name: str, tensor: Tensor, sizes: tuple[int, int, int, int], complex_allowed: bool
) -> None:
    batch, seqlen, d_model, d_state = sizes
    form = "(B, L, N) or (B, L, G, N)"
    if isinstance(tensor, Tensor) and tensor.dim() == 4:
        groups = tensor.shape[2]
        _check_tensor(name, tensor, form, (batch, seqlen, groups, d_state), complex_allowed)
        if groups == 0 or d_model % groups:
            raise ValueError(
                f"selective_scan: {name} has {groups} groups, but their number G must divide D = {d_model}"
            )
    else:
        _check_tensor(name, tensor, form, (batch, seqlen, d_state), complex_allowed)


def _check_tensor(
    name: str, tensor: Tensor, form: str, sizes: tuple[int | None, ...], complex_allowed: bool = False
) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"selective_scan: {name} must be a tensor of shape {form}, not {type(tensor).__name__}"
        )
    if not (tensor.dtype in FLOAT_DTYPES or (complex_allowed and tensor.is_complex())):
        wanted = "floating or complex" if complex_allowed else "floating"
        raise TypeError(f"selective_scan: {name} must be {wanted}, not {tensor.dtype}")
    fits = tensor.dim() == len(sizes) and all(
        want is None or have == want for have, want in zip(tensor.shape, sizes, strict=True)
    )
    if not fits:
        expected = "" if None in sizes else f" = {sizes}"
        raise ValueError(f"selective_scan: {name} must have shape {form}{expected}, not {_shape(tensor)}")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)

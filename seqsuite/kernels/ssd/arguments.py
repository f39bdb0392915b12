"""What the arguments of ``ssd`` must look like; complaints name the argument and the shape it should have."""

from torch import Tensor

from seqsuite.kernels.selective_scan.arguments import check_cu_seqlens


def check_arguments(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    dt_bias: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Check shapes and dtypes.

    Raises:
        TypeError: an argument is no floating tensor.
        ValueError: an argument has a shape it cannot have.
    """
    _check("x", x, "(B, L, H, P)", (None,) * 4)
    batch, seqlen, heads, width = x.shape
    _check("dt", dt, "(B, L, H)", (batch, seqlen, heads))
    _check("B", B, "(B, L, G, N)", (batch, seqlen, None, None))
    _check("C", C, "(B, L, G, N)", tuple(B.shape))
    groups, d_state = B.shape[2:]
    if groups == 0 or heads % groups:
        raise ValueError(f"ssd: B has {groups} groups, but their number G must divide H = {heads}")
    for name, tensor in (("A", A), ("D", D), ("dt_bias", dt_bias)):
        if tensor is not None:
            _check(name, tensor, "(H,)", (heads,))
    sequences = batch
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x)
        sequences = len(cu_seqlens) - 1
    if initial_state is not None:
        _check("initial_state", initial_state, "(B or S, H, P, N)", (sequences, heads, width, d_state))


def _check(name: str, tensor: Tensor, form: str, sizes: tuple[int | None, ...]) -> None:
    if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
        raise TypeError(f"ssd: {name} must be a floating tensor of shape {form}")
    fits = tensor.dim() == len(sizes) and all(
        want is None or have == want for have, want in zip(tensor.shape, sizes, strict=True)
    )
    if not fits:
        expected = "" if None in sizes else f" = {sizes}"
        raise ValueError(f"ssd: {name} must have shape {form}{expected}, not {tuple(tensor.shape)}")

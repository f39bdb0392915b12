"""What the arguments of ``ssd`` must look like; complaints name the argument and the shape it should have."""

from torch import Tensor

from seqsuite.kernels.checks import check_cu_seqlens, check_tensor


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
    check_tensor("ssd", "x", x, "(B, L, H, P)", (None,) * 4)
    batch, seqlen, heads, width = x.shape
    check_tensor("ssd", "dt", dt, "(B, L, H)", (batch, seqlen, heads))
    check_tensor("ssd", "B", B, "(B, L, G, N)", (batch, seqlen, None, None))
    check_tensor("ssd", "C", C, "(B, L, G, N)", tuple(B.shape))
    groups, d_state = B.shape[2:]
    if groups == 0 or heads % groups:
        raise ValueError(f"ssd: B has {groups} groups, but their number G must divide H = {heads}")
    for name, tensor in (("A", A), ("D", D), ("dt_bias", dt_bias)):
        if tensor is not None:
            check_tensor("ssd", name, tensor, "(H,)", (heads,))
    sequences = batch
    if cu_seqlens is not None:
        check_cu_seqlens("ssd", cu_seqlens, "x", x)
        sequences = len(cu_seqlens) - 1
    if initial_state is not None:
        check_tensor(
            "ssd", "initial_state", initial_state, "(B or S, H, P, N)", (sequences, heads, width, d_state)
        )

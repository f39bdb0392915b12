"""The selective scan: the state space model of Mamba (https://arxiv.org/abs/2312.00752, equation 2a)."""

from typing import Literal, overload

from torch import Tensor

from seqsuite.kernels.checks import check_flag
from seqsuite.kernels.selective_scan.arguments import NAME, check_arguments
from seqsuite.kernels.selective_scan.dispatch import implementation


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    *,
    return_final_state: Literal[True],
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run the selective state space model over whole sequences.

    For each channel d and state n, with Δ = softplus(delta + delta_bias) (each part where asked for)::

        h_t[d, n] = exp(Δ_t[d] A[d, n]) h_{t-1}[d, n] + Δ_t[d] B_t[n] u_t[d]
        y_t[d]    = (Σ_n C_t[n] h_t[d, n] + D[d] u_t[d]) · silu(z_t[d])

    The state is float32 (float64 where ``u`` is float64) whatever the dtypes of the inputs, and so are the
    computations. Every floating argument gets a gradient, also through the final state.

    A complex ``A`` holds one of each pair of conjugate states, as in S4D: the output is
    2 Re(Σ_n C_t[n] h_t[d, n]), and ``B``, ``C`` and the states may be complex too. The "triton" backend has
    no kernels for it: on a GPU the reference runs. The gradient of a complex number z is PyTorch's,
    ∂/∂Re z + i ∂/∂Im z.

    Args:
        u: input (B, L, D): float64, float32, bfloat16 or float16.
        delta: step size (B, L, D), before bias and softplus.
        A: (D, N), real and negative for a stable model, or complex.
        B: input projection (B, L, N), or (B, L, G, N) for G groups of D / G channels each, or (D, N): a
            constant of each channel, as in a time-invariant model.
        C: output projection, of B's shape or constant.
        D: skip weight (D,).
        z: gate (B, L, D).
        delta_bias: (D,).
        delta_softplus: whether Δ is the softplus of delta (and its bias).
        initial_state: h_{-1} (B, D, N), zero if not given; (S, D, N) for packed sequences.
        cu_seqlens: offsets (S + 1,), int32 or int64, of S sequences packed one after the other; B must be 1.
            Sequence s is at positions cu_seqlens[s] to cu_seqlens[s + 1]; no state passes between sequences.
        return_final_state: whether to return the state after the last position too.
        backend: "triton" (tensors on a GPU), "cpu" or "reference"; if not given, what the environment's
            SEQSUITE_BACKEND says, else the fastest that can run.

    Returns:
        y (B, L, D) in ``u``'s dtype, or (y, final_state) with the final state (B, D, N), or (S, D, N)
        for packed sequences.

    Raises:
        TypeError: an argument has a type or dtype it cannot have.
        ValueError: an argument has a shape it cannot have or is on another device, or the backend cannot
            be used.
    """
    check_arguments(u, delta, A, B, C, D, z, delta_bias, initial_state, cu_seqlens)
    check_flag(NAME, "delta_softplus", delta_softplus)
    scan = implementation(u, A, backend)
    y, final_state = scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, cu_seqlens)
    return (y, final_state) if return_final_state else y

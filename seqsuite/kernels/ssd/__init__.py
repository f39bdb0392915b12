"""State space duality: the scan of Mamba-2 (arXiv 2405.21060), as a recurrence or by matrix products."""

from typing import Literal, overload

import torch
from torch import Tensor

from seqsuite.kernels import flash_linear_attention as fla
from seqsuite.kernels.backend import CPU, REFERENCE, Backend, choose_backend
from seqsuite.kernels.checks import check_flag
from seqsuite.kernels.selective_scan.reference import discretise_step_size
from seqsuite.kernels.ssd.arguments import check_arguments
from seqsuite.kernels.ssd.plain import ssd_plain
from seqsuite.kernels.ssd.reference import step

CHUNKED = Backend("chunked", lambda: None, "matrix products within chunks, plain PyTorch")
BACKENDS = {backend.name: backend for backend in (fla.FLA, CPU, CHUNKED, REFERENCE)}

CHUNK = 64
"""Positions a chunk, unless the call says otherwise: large enough for matrix products, small enough that the
quadratic part stays cheap."""


@overload
def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: Literal[False] = False,
    chunk_size: int = CHUNK,
    backend: str | None = None,
) -> Tensor: ...


@overload
def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    *,
    return_final_state: Literal[True],
    chunk_size: int = CHUNK,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: bool = False,
    chunk_size: int = CHUNK,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Run a state space model whose A is one number a head over whole sequences.

    For each head h with P channels p and N states n, with Δ = softplus(dt + dt_bias) (each part where asked
    for)::

        S_t[h, p, n] = exp(Δ_t[h] A[h]) S_{t-1}[h, p, n] + Δ_t[h] x_t[h, p] B_t[n]
        y_t[h, p]    = Σ_n C_t[n] S_t[h, p, n] + D[h] x_t[h, p]

    With Δ = 1 that is linear attention with a decay: C are its queries, B its keys, x its values. States and
    computations are float32 (float64 where ``x`` is) whatever the dtypes of the inputs. Every floating
    argument gets a gradient, also through the final state.

    Args:
        x: Inputs (B, L, H, P), floating.
        dt: Step sizes (B, L, H), before bias and softplus.
        A: (H,), negative, or zero for no decay.
        B: Input projection (B, L, G, N), for G groups of H / G heads each.
        C: Output projection, of B's shape.
        D: Skip weight (H,).
        dt_bias: (H,).
        dt_softplus: Whether Δ is the softplus of dt (and its bias).
        initial_state: S_{-1} (B, H, P, N), zero if not given; (S, H, P, N) for packed sequences.
        cu_seqlens: Offsets (S + 1,), int32 or int64, of S sequences packed along L; B must be 1.
        return_final_state: Whether to return the state after the last position too.
        chunk_size: Positions a chunk of the chunked form.
        backend: ``"chunked"`` takes matrix products within chunks and passes the state between them
            (the paper's section 6); ``"cpu"`` does so in fused vector kernels; ``"fla"`` in fla-core's on a
            GPU, in the precision of x, and is chosen where that has 16 bits; ``"reference"`` is the
            recurrence, position after position. If not given, what the environment variable
            SEQSUITE_BACKEND says, else the fastest that can run.

    Returns:
        y (B, L, H, P) in ``x``'s dtype, or (y, final_state) with the final state (B, H, P, N), or
        (S, H, P, N) for packed sequences.

    Raises:
        TypeError: an argument has a type or dtype it cannot have.
        ValueError: an argument has a shape it cannot have, or the backend cannot be used.
    """
    check_arguments(x, dt, A, B, C, D, dt_bias, initial_state, cu_seqlens)
    check_flag("ssd", "dt_softplus", dt_softplus)
    if chunk_size < 1:
        raise ValueError(f"ssd: chunk_size must be positive, not {chunk_size}")
    name = backend_for(x.device.type, backend)
    if backend is None and name == "chunked" and fla.is_faster_for(x):
        name = "fla"
    delta, a, B, C, real = _prepare(x, dt, A, B, C, dt_bias, dt_softplus)
    sequences = x.shape[0] if cu_seqlens is None else len(cu_seqlens) - 1
    if initial_state is None:
        initial_state = delta.new_zeros(sequences, *x.shape[2:], B.shape[-1])
    state = initial_state.to(real)
    if name == "fla":
        q, k = (t.repeat_interleave(x.shape[2] // t.shape[2], dim=2) for t in (C, B))
        y, final_state = fla.linear_attention(
            q, k, (x * delta.unsqueeze(-1)).to(x.dtype), a, state, cu_seqlens
        )
        y = _with_skip(y, x, D)
        return (y, final_state) if return_final_state else y

    if name == "cpu":
        from seqsuite.kernels.ssd.cpu import ssd_cpu

        skip = None if D is None else D.to(real)
        y, final_state = ssd_cpu(x.to(real), delta, a, B, C, skip, state, cu_seqlens)
        y = y.to(x.dtype)
    else:
        u, chunk = x.to(real) * delta.unsqueeze(-1), None if name == "reference" else chunk_size
        y, final_state = ssd_plain(u, a, B, C, state, cu_seqlens, chunk)
        y = _with_skip(y, x, D)
    return (y, final_state) if return_final_state else y


def ssd_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
) -> tuple[Tensor, Tensor]:
    """Advance the recurrence of :func:`ssd` by one position.

    Args:
        state: (B, H, P, N), as ``ssd`` returns it; not changed in place.
        x: (B, H, P).
        dt: (B, H).
        A: (H,).
        B, C: (B, G, N).
        D, dt_bias: (H,).
        dt_softplus: Whether the step size is the softplus of dt (and its bias).

    Returns:
        y (B, H, P) in ``x``'s dtype and the next state (B, H, P, N).

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    whole = [t.unsqueeze(1) if isinstance(t, Tensor) else t for t in (x, dt, B, C)]
    check_arguments(whole[0], whole[1], A, whole[2], whole[3], D, dt_bias, state, None)
    delta, a, B, C, real = _prepare(x, dt, A, B, C, dt_bias, dt_softplus)
    y, state = step(state.to(real), x.to(real) * delta.unsqueeze(-1), a, B, C)
    return _with_skip(y, x, D), state


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def backend_for(device: str, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    return choose_backend("ssd", BACKENDS, device, backend, fallback="chunked")


def _prepare(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    dt_bias: Tensor | None,
    dt_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, torch.dtype]:
    """Return Δ, Δ A, B and C in the state's dtype, and that dtype."""
    real = torch.float64 if x.dtype == torch.float64 else torch.float32
    delta = discretise_step_size(dt.to(real), dt_bias, dt_softplus)
    return delta, delta * A.to(real), B.to(real), C.to(real), real


def _with_skip(y: Tensor, x: Tensor, D: Tensor | None) -> Tensor:
    return (y if D is None else torch.addcmul(y, D.to(y.dtype).unsqueeze(-1), x.to(y.dtype))).to(x.dtype)

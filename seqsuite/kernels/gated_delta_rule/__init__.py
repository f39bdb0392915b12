"""The gated delta rule: a state that forgets, and replaces what it holds under a key (arXiv 2412.06464)."""

from typing import Literal

import torch
from torch import Tensor

from seqsuite.kernels import flash_linear_attention as fla
from seqsuite.kernels.checks import check_cu_seqlens, check_tensor
from seqsuite.kernels.gated_delta_rule.chunked import gated_delta_rule_chunked
from seqsuite.kernels.gated_delta_rule.reference import gated_delta_rule_reference, step
from seqsuite.kernels.packing import PaddedBatches
from seqsuite.kernels.precision import full_precision

NAME = "gated_delta_rule"

CHUNK = 64
"""Positions a chunk, unless the call says otherwise."""


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    *,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    chunk_size: int = CHUNK,
    backend: Literal["fla", "chunked", "reference"] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the gated delta rule over whole sequences.

    For each head, with α = exp(log_decay) (equation 10 of the paper)::

        S_t = α_t S_{t-1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    States and computations are float32 (float64 where ``v`` is) whatever the dtypes of the inputs. Every
    floating argument gets a gradient, also through the final state.

    Args:
        q, k: Queries and keys (B, L, H, N), floating; keys of norm 1 keep the rule stable.
        v: Values (B, L, H, P).
        log_decay: Logarithms of α (B, L, H), not positive.
        beta: How much of the old value is replaced (B, L, H), from 0 to 2: above 1 it is overshot, and an
            eigenvalue of what the state is multiplied by is negative.
        initial_state: S_{-1} (B, H, P, N), zero if not given; (S, H, P, N) for packed sequences.
        cu_seqlens: Offsets (S + 1,), int32 or int64, of S sequences packed along L; B must be 1.
        chunk_size: Positions a chunk of the chunked form.
        backend: ``"chunked"`` solves a triangular system within each chunk and passes the state between them
            (the paper's section 3.3); ``"fla"`` does so in fla-core's kernels on a GPU, in v's precision;
            ``"reference"`` is the recurrence, position after position. If not given, ``"fla"`` where v has
            16 bits and it can run, else ``"chunked"``.

    Returns:
        y (B, L, H, P) in ``v``'s dtype, and the final state (B, H, P, N), or (S, H, P, N) if packed.

    Raises:
        TypeError: an argument has a dtype it cannot have.
        ValueError: an argument has a shape it cannot have.
    """
    _check(q, k, v, log_decay, beta, initial_state, cu_seqlens)
    real = torch.float64 if v.dtype == torch.float64 else torch.float32
    inputs = [t.to(real) for t in (q, k, v, log_decay, beta)]
    if initial_state is None:
        sequences = v.shape[0] if cu_seqlens is None else len(cu_seqlens) - 1
        initial_state = inputs[2].new_zeros(sequences, *v.shape[2:], k.shape[3])
    state = initial_state.to(real)
    if backend == "fla" or (backend is None and fla.is_faster_for(v)):
        return fla.gated_delta_rule(q, k, v, log_decay, beta, state, cu_seqlens)

    def scan(inputs: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(v.device):
            if backend == "reference":
                return gated_delta_rule_reference(*inputs, state=state)
            return gated_delta_rule_chunked(*inputs, state=state, chunk=chunk_size)

    if cu_seqlens is None:
        y, final_state = scan(inputs, state)
    else:
        # Where there is padding, nothing decays and nothing is replaced: the state passes through it.
        batches = PaddedBatches.of(cu_seqlens, v.shape[1], v.device)
        parts = zip(*(batches.split(t) for t in inputs), batches.split_states(state), strict=True)
        scanned = [scan(list(part[:-1]), part[-1]) for part in parts]
        y = batches.join([y for y, _ in scanned])
        final_state = batches.join_states([state for _, state in scanned])
    return y.to(v.dtype), final_state


def gated_delta_update(
    state: Tensor, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance :func:`gated_delta_rule` by one position; its arguments without L, and nothing in place.

    Returns:
        y (B, H, P) in ``v``'s dtype, and the next state (B, H, P, N).

    Raises:
        TypeError, ValueError: an argument has a dtype or shape it cannot have.
    """
    whole = [t.unsqueeze(1) for t in (q, k, v, log_decay, beta)]
    _check(whole[0], whole[1], whole[2], whole[3], whole[4], state, None)
    real = torch.float64 if v.dtype == torch.float64 else torch.float32
    with full_precision(v.device):
        y, state = step(state.to(real), *(t.to(real) for t in (q, k, v, log_decay, beta)))
    return y.to(v.dtype), state


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    check_tensor(NAME, "k", k, "(B, L, H, N)", (None,) * 4)
    batch, seqlen, heads, width = k.shape
    check_tensor(NAME, "q", q, "(B, L, H, N)", (batch, seqlen, heads, width))
    check_tensor(NAME, "v", v, "(B, L, H, P)", (batch, seqlen, heads, None))
    for name, tensor in (("log_decay", log_decay), ("beta", beta)):
        check_tensor(NAME, name, tensor, "(B, L, H)", (batch, seqlen, heads))
    sequences = batch
    if cu_seqlens is not None:
        check_cu_seqlens(NAME, cu_seqlens, "k", k)
        sequences = len(cu_seqlens) - 1
    if state is not None:
        size = sequences, heads, v.shape[3], width
        check_tensor(NAME, "initial_state", state, "(B or S, H, P, N)", size)

"""The gated delta rule by matrix products within chunks (arXiv 2412.06464, section 3.3).

While torch.compile traces, it is behind two PyTorch operators: the loop over chunks would be unrolled, and
compiled anew for each number of them.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
    recomputed_gradients,
)
from seqsuite.kernels.ssd.chunked import causal_product, decays_within, in_chunks

INPUTS = "int chunk, Tensor q, Tensor k, Tensor v, Tensor log_decay, Tensor beta, Tensor state"

FORWARD = define_operator(f"gated_delta_rule_forward({INPUTS}) -> (Tensor y, Tensor final_state)")
BACKWARD = define_operator(
    f"gated_delta_rule_backward(str backend, Tensor dy, Tensor dfinal_state, {INPUTS}) -> Tensor[]"
)


def gated_delta_rule_chunked(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, *, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.gated_delta_rule.reference.gated_delta_rule_reference` in chunks.

    Written S_i = α_i S_{i-1} + u_i k_iᵀ, what is added at position i is u_i = β_i (v_i − α_i S_{i-1} k_i).
    With L_ij = α_{j+1} … α_i the decay from j to i, r_i that from before the chunk, S the state there, and
    everything that was added in between, that is a unit lower triangular system in the rows of U::

        u_i + Σ_{j < i} β_i L_ij (k_i · k_j) u_j = β_i v_i − β_i r_i S k_i

    It is solved for both parts of the right side at once, for all chunks in parallel; only S passes from one
    chunk to the next.

    Args:
        q, k, v, log_decay, beta: See :func:`seqsuite.kernels.gated_delta_rule`.
        state: (B, H, P, N).
        chunk: Positions Q a chunk.

    Returns:
        y (B, L, H, P) and the final state.
    """
    if v.shape[1] == 0:
        return v, state
    if torch.compiler.is_compiling():
        y, final_state = FORWARD(chunk, q, k, v, log_decay, beta, state)
        return y, final_state
    return _compute(chunk, q, k, v, log_decay, beta, state)


def _compute(
    chunk: int, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    length = v.shape[1]
    chunk = min(chunk, length)
    # From here on (B, chunks, H, Q, …).
    q, k, v, log_decay, beta = (in_chunks(t, chunk).transpose(2, 3) for t in (q, k, v, log_decay, beta))
    within, beta = decays_within(log_decay), beta.unsqueeze(-1)
    since_start, until_end = torch.exp(log_decay.cumsum(-1)).unsqueeze(-1), within[..., -1, :].unsqueeze(-1)
    system = (beta * within * (k @ k.mT)).tril(-1)  # and ones on the diagonal, which the solver assumes
    right = torch.cat([beta * v, beta * since_start * k], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    new, correction = torch.split(solved, [v.shape[-1], k.shape[-1]], dim=-1)
    keys, through = until_end * k, since_start[..., -1:, :]
    added, entering = [], []
    for new_c, correction_c, keys_c, through_c in zip(
        *(t.unbind(1) for t in (new, correction, keys, through)), strict=True
    ):
        entering.append(state)
        added.append(new_c - correction_c @ state.mT)
        state = torch.addcmul(added[-1].mT @ keys_c, through_c, state)
    y = (since_start * q) @ torch.stack(entering, 1).mT
    y = y + causal_product((within * (q @ k.mT)).tril(), torch.stack(added, 1))
    return y.transpose(2, 3).flatten(1, 2)[:, :length], state


def _forward(chunk: int, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    y, final_state = _compute(chunk, *inputs)
    return y.contiguous(), final_state.contiguous()


def _forward_fake(chunk: int, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    _, _, v, _, _, state = inputs
    return v.new_empty(v.shape), state.new_empty(state.shape)


class _GatedDeltaRule(Derivative):
    """The forward with its derivative, which computes it once more."""

    @staticmethod
    def forward(ctx: Any, chunk: int, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        ctx.chunk = chunk
        ctx.save_for_backward(*inputs)
        y, final_state = below_autograd(FORWARD, chunk, *inputs)
        return y, final_state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, *call_backward(BACKWARD, "compiled", *gradients, ctx.chunk, *ctx.saved_tensors)


def _backward(backend: str, dy: Tensor, dfinal_state: Tensor, chunk: int, *inputs: Tensor) -> list[Tensor]:
    return recomputed_gradients(partial(_compute, chunk), inputs, (dy, dfinal_state))


def _backward_fake(
    backend: str, dy: Tensor, dfinal_state: Tensor, chunk: int, *inputs: Tensor
) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in inputs]


DEVICES = ("CompositeExplicitAutograd",)  # any that PyTorch has
implement_operator(FORWARD, _forward, _forward_fake, _GatedDeltaRule, _compute, devices=DEVICES)
implement_operator(BACKWARD, _backward, _backward_fake, devices=DEVICES)

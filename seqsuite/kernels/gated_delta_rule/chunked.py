"""The gated delta rule by matrix products within chunks (arXiv 2412.06464, section 3.3).

While torch.compile traces, the loop over chunks is behind two PyTorch operators: it would be unrolled, and
compiled anew for each number of chunks.
"""

from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)
from seqsuite.kernels.ssd.chunked import causal_product, decays_within, in_chunks

INPUTS = "Tensor new, Tensor correction, Tensor keys, Tensor through, Tensor state"

# The forward gives what is added, the states that enter the chunks and the final state; the backward the
# gradients of the inputs, in their order.
FORWARD = define_operator(
    f"gated_delta_states_forward({INPUTS}) -> (Tensor added, Tensor entering, Tensor final_state)"
)
BACKWARD = define_operator(
    "gated_delta_states_backward(str backend, Tensor dadded, Tensor dentering, Tensor dfinal_state, "
    "Tensor added, Tensor entering, Tensor correction, Tensor keys, Tensor through) -> Tensor[]"
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
    length = v.shape[1]
    if length == 0:
        return v, state
    compiling = torch.compiler.is_compiling()
    if not compiling:  # to the compiler, chunks are of one size, whatever the length
        chunk = min(chunk, length)
    # From here on (B, chunks, H, Q, …).
    q, k, v, log_decay, beta = (in_chunks(t, chunk).transpose(2, 3) for t in (q, k, v, log_decay, beta))
    within, beta = decays_within(log_decay), beta.unsqueeze(-1)
    since_start, until_end = torch.exp(log_decay.cumsum(-1)).unsqueeze(-1), within[..., -1, :].unsqueeze(-1)
    system = (beta * within * (k @ k.mT)).tril_(-1)  # and ones on the diagonal, which the solver assumes
    right = torch.cat([beta * v, beta * since_start * k], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    new, correction = torch.split(solved, [v.shape[-1], k.shape[-1]], dim=-1)
    inputs = new, correction, until_end * k, since_start[..., -1:, :], state
    added, entering, state = FORWARD(*inputs) if compiling else _forward(*inputs)
    y = (since_start * q) @ entering.mT + causal_product((within * (q @ k.mT)).tril_(), added)
    return y.transpose(2, 3).flatten(1, 2)[:, :length], state


def _forward(
    new: Tensor, correction: Tensor, keys: Tensor, through: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pass the state through the chunks.

    Args:
        new: What is added to a state of zero (B, c, H, Q, P), for c chunks.
        correction: What of it is taken back for each key of the state that enters (B, c, H, Q, N).
        keys: Times their decay to the end of the chunk (B, c, H, Q, N).
        through: Decay through the chunk (B, c, H, 1, 1).
        state: Before the first chunk (B, H, P, N).

    Returns:
        What is added (B, c, H, Q, P), the states that enter each chunk (B, c, H, P, N), and the last state.
    """
    added, entering = [], []
    for new_c, correction_c, keys_c, through_c in zip(
        *(t.unbind(1) for t in (new, correction, keys, through)), strict=True
    ):
        entering.append(state)
        added.append(new_c - correction_c @ state.mT)
        state = torch.addcmul(added[-1].mT @ keys_c, through_c, state)
    return torch.stack(added, 1), torch.stack(entering, 1), state


def _forward_fake(
    new: Tensor, correction: Tensor, keys: Tensor, through: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    entering = state.new_empty((*new.shape[:2], *state.shape[1:]))
    return new.new_empty(new.shape), entering, state.new_empty(state.shape)


class _States(Derivative):
    """The forward with its derivative."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        added, entering, final_state = below_autograd(FORWARD, *inputs)
        _, correction, keys, through, _ = inputs
        ctx.save_for_backward(added, entering, correction, keys, through)
        return added, entering, final_state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(call_backward(BACKWARD, "compiled", *gradients, *ctx.saved_tensors))


def _backward(
    backend: str,
    dadded: Tensor,
    dentering: Tensor,
    dfinal_state: Tensor,
    added: Tensor,
    entering: Tensor,
    correction: Tensor,
    keys: Tensor,
    through: Tensor,
) -> list[Tensor]:
    """Go back through the chunks; only the gradient of the state does so step by step."""
    leaving, dnew = torch.empty_like(entering), torch.empty_like(added)
    dstate = dfinal_state
    for index in reversed(range(added.shape[1])):
        leaving[:, index] = dstate
        dnew[:, index] = dadded[:, index] + keys[:, index] @ dstate.mT
        passed = torch.addcmul(dentering[:, index], through[:, index], dstate)
        dstate = passed - dnew[:, index].mT @ correction[:, index]
    dthrough = (leaving * entering).sum((-1, -2), keepdim=True)
    return [dnew, (dnew @ entering).neg_(), added @ leaving, dthrough, dstate.contiguous()]


def _backward_fake(
    backend: str,
    dadded: Tensor,
    dentering: Tensor,
    dfinal_state: Tensor,
    added: Tensor,
    entering: Tensor,
    correction: Tensor,
    keys: Tensor,
    through: Tensor,
) -> list[Tensor]:
    inputs = added, correction, keys, through, dfinal_state
    return [tensor.new_empty(tensor.shape) for tensor in inputs]


DEVICES = ("CompositeExplicitAutograd",)  # any that PyTorch has
implement_operator(FORWARD, _forward, _forward_fake, _States, _forward, devices=DEVICES)
implement_operator(BACKWARD, _backward, _backward_fake, devices=DEVICES)

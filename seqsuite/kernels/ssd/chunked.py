"""The scan of Mamba-2 by matrix products within chunks (arXiv 2405.21060, section 6).

Behind two PyTorch operators: torch.compile would unroll the loop over chunks, and compile anew for each
number of them. What autograd would keep is computed again in the backward, but for the states between chunks.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)
from seqsuite.kernels.ssd.reference import ssd_reference

INPUTS = "Tensor u, Tensor a, Tensor B, Tensor C, Tensor state"

# The forward gives y, the final state and the states that enter the chunks; the backward the gradients of the
# inputs, in their order.
FORWARD = define_operator(
    f"ssd_chunked_forward(int chunk, {INPUTS}) -> (Tensor y, Tensor final_state, Tensor entering)"
)
BACKWARD = define_operator(
    "ssd_chunked_backward(str backend, int chunk, Tensor dy, Tensor dfinal_state, Tensor entering, "
    f"{INPUTS}) -> Tensor[]"
)


def ssd_chunked(
    u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.ssd.reference.ssd_reference` in chunks of ``chunk`` positions.

    Within a chunk the model is masked attention, y = (L ∘ C Bᵀ) u, with L_ij the decay from j to i; what
    comes from before it passes through the state. Decays are exponentials of sums of their own exponents: no
    differences of longer sums, which lose their digits after one large exponent.

    Args:
        u: Δ x (B, L, H, P).
        a: Δ A (B, L, H), not positive.
        B, C: (B, L, G, N).
        state: (B, H, P, N).
        chunk: Positions Q a chunk.

    Returns:
        y (B, L, H, P), without the skip, and the final state.
    """
    if u.shape[1] == 0:
        return u, state
    y, final_state, _ = FORWARD(chunk, u, a, B, C, state)
    return y, final_state


def decays_within(a: Tensor) -> Tensor:
    """Return the decays from j to i, exp(a_{j+1} + … + a_i) for i ≥ j, (…, Q, Q), from exponents a (…, Q).

    Above the diagonal are ones, for products to be cut off there: NaN times zero would stay NaN.
    """
    added = a.unsqueeze(-1).expand(*a.shape, a.shape[-1]).tril(-1)  # at [i, j], a_i where i is after j
    return added.cumsum(-2).exp_()


def causal_product(weights: Tensor, values: Tensor) -> Tensor:
    """Return weights @ values, (…, Q, P), for lower triangular weights (…, Q, Q).

    A row takes nothing from the values after it, not even the NaN that 0 times NaN or infinity is; rows from
    such a value on are NaN in its column.
    """
    spoilt = (values.detach() * 0).cumsum(-2)
    matrices = (t.flatten(0, -3) for t in (spoilt, weights, values.nan_to_num(0.0, 0.0, 0.0)))
    return torch.baddbmm(*matrices).view(values.shape)


def in_chunks(t: Tensor, chunk: int) -> Tensor:
    """Cut (B, L, …) into (B, chunks, chunk, …), the last chunk filled up with zeros.

    A zero has no decay and no input, so that the state passes through it.
    """
    missing = -t.shape[1] % chunk
    # torch.compile would compile for lengths without a rest once more.
    pad = torch.compiler.is_compiling() or missing
    padded = F.pad(t, (0, 0) * (t.dim() - 2) + (0, missing)) if pad else t
    return padded.reshape(t.shape[0], -1, chunk, *t.shape[2:])


class _Chunks(NamedTuple):
    """The inputs cut into chunks.

    With c for the number of chunks: u (B, c, H, Q, P), the decays L (B, c, H, Q, Q), B and C (B, c, G, Q, N).
    The decays from the chunk's start to each position and from each to the chunk's end are (B, c, H, Q, 1),
    that through the whole chunk (B, c, H, 1, 1).
    """

    u: Tensor
    B: Tensor
    C: Tensor
    within: Tensor
    since_start: Tensor
    until_end: Tensor
    through: Tensor

    @staticmethod
    def cut(chunk: int, u: Tensor, a: Tensor, B: Tensor, C: Tensor) -> "_Chunks":
        """Cut the inputs."""
        chunk = min(chunk, u.shape[1])
        u, a, B, C = (in_chunks(t, chunk).transpose(2, 3) for t in (u, a, B, C))
        within, since_start = decays_within(a), torch.exp(a.cumsum(-1)).unsqueeze(-1)
        until_end = within[..., -1, :].unsqueeze(-1)
        return _Chunks(u.contiguous(), B, C, within, since_start, until_end, since_start[..., -1:, :])

    def scores(self) -> Tensor:
        """Return S = L ∘ C Bᵀ, (B, c, H, Q, Q)."""
        products = (self.C @ self.B.mT).tril_().unsqueeze(3)
        return (self.of_group(self.within) * products).flatten(2, 3)

    def of_group(self, t: Tensor) -> Tensor:
        """Turn (B, c, H, …) into (B, c, G, H / G, …)."""
        return t.view(*t.shape[:2], self.B.shape[2], -1, *t.shape[3:])

    def rows(self, t: Tensor) -> Tensor:
        """Turn (B, c, H, Q, P) into (B, c, G, Q, R), the R = H / G · P channels of a group side by side."""
        return self.of_group(t).transpose(3, 4).flatten(4)

    def from_rows(self, t: Tensor) -> Tensor:
        """Turn (B, c, G, Q, R) back into (B, c, H, Q, P)."""
        return t.view(*t.shape[:4], -1, self.u.shape[-1]).transpose(3, 4).flatten(2, 3)

    def channels(self, states: Tensor) -> Tensor:
        """Turn states (B, c, H, P, N) into (B, c, G, R, N)."""
        return self.of_group(states).flatten(3, 4)

    def from_channels(self, t: Tensor) -> Tensor:
        """Turn (B, c, G, R, N) back into (B, c, H, P, N)."""
        return t.view(*t.shape[:2], -1, self.u.shape[-1], t.shape[-1])


def _whole(t: Tensor, length: int) -> Tensor:
    """Turn chunks (B, c, H, Q, …) into (B, L, H, …)."""
    return t.transpose(2, 3).flatten(1, 2)[:, :length].contiguous()


def _forward(
    chunk: int, u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute all chunks at once but for the states.

    With r_i the decay from the chunk's start to i, e_j that from j to its end, and h and h' the states that
    enter and leave the chunk::

        y_i = Σ_j S_ij u_j + r_i h C_i          h' = r_Q h + Σ_j e_j u_j B_jᵀ
    """
    length = u.shape[1]
    chunks = _Chunks.cut(chunk, u, a, B, C)
    added = chunks.from_channels(chunks.rows(chunks.u * chunks.until_end).mT @ chunks.B)
    entering = torch.empty_like(added)
    for index in range(added.shape[1]):
        entering[:, index] = state
        state = torch.addcmul(added[:, index], chunks.through[:, index], state)
    y = causal_product(chunks.scores(), chunks.u)
    y.addcmul_(chunks.from_rows(chunks.C @ chunks.channels(entering).mT), chunks.since_start)
    return _whole(y, length), state, entering


def _forward_fake(
    chunk: int, u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    entering = u.new_empty((u.shape[0], -(-u.shape[1] // chunk), *state.shape[1:]))
    return u.new_empty(u.shape), state.new_empty(state.shape), entering


def _plain(
    chunk: int, u: Tensor, a: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    y, final_state = ssd_reference(u, a, B, C, state)
    return y, final_state, y.new_empty(0)


class _Ssd(Derivative):
    """The forward with its derivative, for which it keeps the states that enter the chunks."""

    @staticmethod
    def forward(ctx: Any, chunk: int, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, final_state, entering = below_autograd(FORWARD, chunk, *inputs)
        ctx.chunk = chunk
        ctx.save_for_backward(entering, *inputs)
        ctx.mark_non_differentiable(entering)
        ctx.set_materialize_grads(False)
        return y, final_state, entering

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor | None, dfinal_state: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        entering, *inputs = ctx.saved_tensors
        dy = torch.zeros_like(inputs[0]) if dy is None else dy
        dfinal_state = torch.zeros_like(inputs[-1]) if dfinal_state is None else dfinal_state
        gradients = call_backward(BACKWARD, "chunked", ctx.chunk, dy, dfinal_state, entering, *inputs)
        needed = zip(gradients, ctx.needs_input_grad[1:], strict=True)
        return (None, *(gradient if wanted else None for gradient, wanted in needed))


def _backward(
    backend: str,
    chunk: int,
    dy: Tensor,
    dfinal_state: Tensor,
    entering: Tensor,
    u: Tensor,
    a: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
) -> list[Tensor]:
    """Compute the gradients; the equations are those of :mod:`~.cpu_backward`."""
    length = u.shape[1]
    chunks = _Chunks.cut(chunk, u, a, B, C)
    dy = in_chunks(dy, chunks.u.shape[3]).transpose(2, 3).contiguous()
    reached = chunks.rows(dy * chunks.since_start)
    gained = chunks.from_channels(reached.mT @ chunks.C)
    leaving = torch.empty_like(gained)  # gradients of the states that leave each chunk
    dstate = dfinal_state
    for index in reversed(range(gained.shape[1])):
        leaving[:, index] = dstate
        dstate = torch.addcmul(gained[:, index], chunks.through[:, index], dstate)

    pairs = dy @ chunks.u.mT  # dy_i · u_j
    weights = chunks.of_group(pairs * chunks.within).sum(3).tril_()
    fed = chunks.rows(chunks.u * chunks.until_end)
    dB = weights.mT @ chunks.C + fed @ chunks.channels(leaving)
    dC = weights @ chunks.B + reached @ chunks.channels(entering)
    scores = chunks.scores()
    du = chunks.from_rows(chunks.B @ chunks.channels(leaving).mT).mul_(chunks.until_end)
    # The decay of position t is in all that passes through it: sums of such terms, and no differences of sums
    # over more, for that of a position where all was forgotten is zero, and is multiplied by a large Δ.
    by_end = (du * chunks.u).sum(-1)
    y = chunks.from_rows(chunks.C @ chunks.channels(entering).mT)
    by_start = (y.mul_(dy).sum(-1) * chunks.since_start.squeeze(-1)).flip(-1).cumsum(-1).flip(-1)
    inside = pairs.mul_(scores).cumsum_(-1).tril_(-1).sum(-2)
    da = by_start + F.pad((inside + by_end.cumsum(-1))[..., :-1], (1, 0))
    da += (leaving * entering).sum((-1, -2)).unsqueeze(-1) * chunks.through.squeeze(-1)
    du += scores.mT @ dy
    return [*(_whole(t, length) for t in (du, da, dB, dC)), dstate]


def _backward_fake(
    backend: str, chunk: int, dy: Tensor, dfinal_state: Tensor, entering: Tensor, *inputs: Tensor
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in inputs]


DEVICES = ("CompositeExplicitAutograd",)  # any that PyTorch has
implement_operator(FORWARD, _forward, _forward_fake, _Ssd, _plain, devices=DEVICES)
implement_operator(BACKWARD, _backward, _backward_fake, devices=DEVICES)

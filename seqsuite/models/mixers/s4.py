"""S4: the structured state space model with diagonal plus low-rank A (Gu et al., 2022, arXiv 2111.00396).

Each channel is x' = A x + B u, y = C x with A = Λ − P P* in conjugate pairs, started at HiPPO-LegS and
discretised by the bilinear transform. The paper computes the convolution kernel in the frequency domain, by
N L divisions of complex numbers (its Algorithm 1, Cauchy products); here the same numbers come of matrix
products.

Conjugate pairs are stored once. Written in real coordinates (Re x, Im x) the same system has a real N × N
matrix, which is what the kernel and chunk boundaries are computed with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import impulse_response
from seqsuite.kernels.impulse_response.powers import krylov, rows_times, squarings
from seqsuite.models.initialization import assign, hippo_legs, log_uniform
from seqsuite.models.mixers.lti import Carry, TimeInvariantSSM
from seqsuite.models.precision import widened
from seqsuite.options import PositiveFloat, PositiveInt


class S4(TimeInvariantSSM):
    """Diagonal-plus-low-rank SSM started at HiPPO-LegS.

    Args:
        d_model: Width D.
        d_state: Real state size N a channel, even: N/2 conjugate pairs.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.

    Raises:
        ValueError: if N is odd.
    """

    no_weight_decay = frozenset({"D", "log_dt", "A_real_log", "A_imag", "P", "B"})

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 64,
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        super().__init__(d_model, d_state)
        self.dt_min, self.dt_max = dt_min, dt_max
        pairs = d_state // 2
        self.log_dt = nn.Parameter(torch.empty(d_model))
        self.A_real_log, self.A_imag = (nn.Parameter(torch.empty(d_model, pairs)) for _ in range(2))
        self.P, self.B, self.C = (nn.Parameter(torch.empty(d_model, pairs, 2)) for _ in range(3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start A, P and B at HiPPO-LegS in every channel, Δ log-uniform, and C and the skip normal."""
        super().reset_parameters()
        A, P, B = hippo_legs(self.d_state)
        assign(self.log_dt, log_uniform(self.d_model, self.dt_min, self.dt_max).log())
        assign(self.A_real_log, (-A.real).log().repeat(self.d_model, 1))
        assign(self.A_imag, A.imag.repeat(self.d_model, 1))
        assign(self.P, torch.view_as_real(P).repeat(self.d_model, 1, 1))
        assign(self.B, torch.view_as_real(B).repeat(self.d_model, 1, 1))
        assign(self.C, torch.randn(self.d_model, self.d_state // 2, 2) * 0.5**0.5)

    def kernel(self, seqlen: int) -> Tensor:
        """See :meth:`TimeInvariantSSM.kernel`: the impulse response in real coordinates, (D, seqlen)."""
        _, _, _, C = self._system()
        return impulse_response(self._real_transition(), self._fed_once(), _to_row(C), seqlen)

    def carrier(self, longest: int, batch: int) -> Carry:
        """See :meth:`TimeInvariantSSM.carrier`, in real coordinates.

        Chunks are cut into blocks of M, near √(B L): with k = a M + b, both C Ā^k h and
        Σ_k Ā^k B̄ u_k take tables of M powers, and powers of Ā^M between the blocks. All of them come from a
        few squarings of Ā.
        """
        _, _, _, C = self._system()
        transition, bits = self._real_transition(), longest.bit_length()
        inner = min((batch * longest).bit_length() // 2, bits)
        width = 1 << inner
        # A row v times Āᵀ is the state after v, so that states can be rows.
        powers = squarings(transition, bits)
        advancing = [matrix.mT for matrix in powers]
        rows = krylov(_to_row(C).unsqueeze(1) @ transition, powers[:inner])
        columns = krylov(self._fed_once().unsqueeze(1), advancing[:inner])

        def carry(h: Tensor, backwards: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            batch, length, _ = backwards.shape
            taken = min(width, length)  # of a chunk that is shorter than the tables
            blocks = -(-length // width)
            levels = advancing[inner : inner + max(blocks - 1, 0).bit_length()]
            states = _to_column(h).transpose(0, 1)
            entering = krylov(states.unsqueeze(2), levels)[:, :, :blocks]
            added = (entering.flatten(1, 2) @ rows[:, :taken].mT).reshape(self.d_model, batch, blocks * taken)
            inputs = F.pad(backwards, (0, 0, 0, blocks * taken - length)).permute(2, 0, 1)
            sums = inputs.reshape(self.d_model, batch * blocks, taken) @ columns[:, :taken]
            fed = _polynomial(sums.view(self.d_model, batch, blocks, self.d_state), levels)
            kept = _times_powers(states, advancing, lengths)
            return added[..., :length].permute(1, 2, 0), _from_column((kept + fed).transpose(0, 1))

        return carry

    def advance(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`TimeInvariantSSM.advance`: O(N) a channel, by the Woodbury identity."""
        A, P, B, C = self._system()
        half_dt = torch.exp(widened(self.log_dt)).unsqueeze(-1) / 2

        def project(v: Tensor) -> Tensor:
            """P* v over both halves of the conjugate pairs."""
            return 2 * (P.conj() * v).sum(-1, keepdim=True).real

        explicit = h + half_dt * (A * h - P * project(h)) + 2 * half_dt * B * x_t.unsqueeze(-1)
        inverse = 1 / (1 - half_dt * A)
        solved = inverse * explicit
        correction = project(solved) / (1 + half_dt * project(inverse * P))
        h = solved - half_dt * inverse * P * correction
        return 2 * (C * h).sum(-1).real, h

    def _system(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Λ, P, B and C, complex (D, N/2)."""
        P, B, C = (torch.view_as_complex(widened(pairs)) for pairs in (self.P, self.B, self.C))
        return torch.complex(-torch.exp(widened(self.A_real_log)), widened(self.A_imag)), P, B, C

    def _fed_once(self) -> Tensor:
        """Return B̄ in real coordinates (D, N): the state after a single one."""
        _, _, B, _ = self._system()
        state = self.advance(B.real.new_ones(1, self.d_model), torch.zeros_like(B).unsqueeze(0))[1]
        return _to_column(state).squeeze(0)

    def _real_transition(self) -> Tensor:
        """Return Ā = 2 (I − Δ/2 A)⁻¹ − I in real coordinates, (D, N, N), by the Woodbury identity."""
        A, P, _, _ = self._system()
        dt = torch.exp(widened(self.log_dt)).unsqueeze(-1)
        diagonal = 1 / (1 - dt / 2 * A)
        re, im = torch.diag_embed(diagonal.real), torch.diag_embed(diagonal.imag)
        inverse = torch.cat([torch.cat([re, -im], dim=2), torch.cat([im, re], dim=2)], dim=1)
        left, right = _to_column(diagonal * P), _to_column(diagonal.conj() * P)
        scale = dt / (1 + dt * (left * _to_column(P)).sum(-1, keepdim=True))
        inverse = inverse - (scale * left).unsqueeze(2) * right.unsqueeze(1)
        return 2 * inverse - torch.eye(self.d_state, device=dt.device, dtype=dt.dtype)


def _to_column(pairs: Tensor) -> Tensor:
    """Write states of conjugate pairs (…, N/2) in real coordinates (…, N)."""
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def _from_column(column: Tensor) -> Tensor:
    real, imaginary = column.chunk(2, dim=-1)
    return torch.complex(real, imaginary)


def _to_row(pairs: Tensor) -> Tensor:
    """Write an output map of conjugate pairs as a row that acts on real coordinates: y = 2 Re(C x)."""
    return torch.cat([2 * pairs.real, -2 * pairs.imag], dim=-1)


def _times_powers(rows: Tensor, squarings: list[Tensor], exponents: Tensor) -> Tensor:
    """Return rows (D, R, N) times a matrix to the power of each row's exponent (R,), or one for all (1,)."""
    for bit, matrix in enumerate(squarings):
        rows = torch.where((exponents >> bit & 1).bool().unsqueeze(1), rows @ matrix, rows)
    return rows


def _polynomial(terms: Tensor, squarings: list[Tensor]) -> Tensor:
    """Return Σ_a terms_a · matrix^a (D, R, N), from terms (D, R, up to 2^(number of squarings), N)."""
    for matrix in squarings:
        terms = F.pad(terms, (0, 0, 0, terms.shape[2] % 2))
        terms = terms[:, :, ::2] + rows_times(terms[:, :, 1::2], matrix)
    return terms.sum(2)  # of one term, or of none for a chunk without positions

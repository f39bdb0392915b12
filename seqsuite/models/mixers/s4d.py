"""S4D: the diagonal state space model (Gu et al., 2022, arXiv 2206.11893)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.models.initialization import ComplexInit, RealInit, assign, diagonal_A, is_complex, log_uniform
from seqsuite.models.mixers.lti import Carry, TimeInvariantSSM
from seqsuite.models.precision import widened
from seqsuite.options import PositiveFloat, PositiveInt

TABLE = 64
"""Positions M that share a power in the kernel's computation: near √L for the lengths that are trained on."""


class S4D(TimeInvariantSSM):
    """Diagonal SSM, complex or real, discretised by zero-order hold; B is absorbed into C.

    Args:
        d_model: Width D.
        d_state: Real state size N a channel: N real states, or N/2 conjugate pairs (N must then be even).
        init: Initial A. Complex: ``"lin"`` is −1/2 + iπn (S4D-Lin), ``"inv"`` −1/2 + iN/π (N/(2n + 1) − 1)
            (S4D-Inv), ``"legs"`` the eigenvalues of HiPPO-LegS's normal part (S4D-LegS). Real: ``"real"`` is
            −(n + 1) (S4D-Real), ``"random"`` −exp(N(0, 1)), ``"half"`` −1/2.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.

    Raises:
        ValueError: if A is complex and N is odd.
    """

    no_weight_decay = frozenset({"D", "log_dt", "A_real_log", "A_imag"})

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 64,
        init: ComplexInit | RealInit = "lin",
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        super().__init__(d_model, d_state)
        self.init, self.dt_min, self.dt_max = init, dt_min, dt_max
        self.log_dt = nn.Parameter(torch.empty(d_model))
        self.complex_state = is_complex(init)
        if self.complex_state:
            pairs = d_state // 2
            self.A_real_log, self.A_imag = (nn.Parameter(torch.empty(d_model, pairs)) for _ in range(2))
            self.C = nn.Parameter(torch.empty(d_model, pairs, 2))
        else:
            self.A_real_log, self.C = (nn.Parameter(torch.empty(d_model, d_state)) for _ in range(2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start A as the options say, Δ log-uniform, and C and the skip normal."""
        super().reset_parameters()
        assign(self.log_dt, log_uniform(self.d_model, self.dt_min, self.dt_max).log())
        log, imaginary = diagonal_A(self.init, self.d_model, self.d_state)
        assign(self.A_real_log, log)
        if imaginary is not None:
            assign(self.A_imag, imaginary)
        normal = torch.randn(self.C.shape)
        assign(self.C, normal * 0.5**0.5 if self.complex_state else normal)

    def kernel(self, seqlen: int) -> Tensor:
        """See :meth:`TimeInvariantSSM.kernel`: a Vandermonde product, (D, seqlen).

        With k = a M + b, Σ_n C_n B̄_n Ā_n^(a M) · Ā_n^b is a matrix product over n of two small tables:
        exponentials, which cost most, are taken M + L / M times a state and not L times.
        """
        dtA, B_bar, C = self._discretise()
        rows = -(-seqlen // TABLE) + int(torch.compiler.is_compiling())  # one row would be compiled by itself
        left = (C * B_bar).unsqueeze(1) * _powers(TABLE * dtA, rows).transpose(1, 2)
        return _real_product(left, _powers(dtA, TABLE)).flatten(1)[:, :seqlen]

    def carrier(self, longest: int, batch: int) -> Carry:
        """See :meth:`TimeInvariantSSM.carrier`; exponents are split as in :meth:`kernel`.

        M near √(B L) makes the table and what is computed for each M positions of the batch one size.
        """
        dtA, B_bar, C = self._discretise()
        width, rows = _split(longest, batch)
        table, far = _powers(dtA, width), _powers(width * dtA, rows).transpose(1, 2)

        def carry(h: Tensor, backwards: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            batch, length, _ = backwards.shape
            taken = min(width, length)  # of a chunk that is shorter than the table
            rows, near = -(-length // width), table[..., :taken]
            left = (h * C * torch.exp(dtA)).unsqueeze(2) * far[:, :rows]
            added = _real_product(left, near).flatten(2)[..., :length].transpose(1, 2)
            inputs = F.pad(backwards, (0, 0, 0, rows * taken - length)).permute(2, 0, 1)
            sums = _product(inputs.reshape(self.d_model, batch * rows, taken), near.mT)
            sums = sums.view(self.d_model, batch, rows, h.shape[2]) * far[:, :rows].unsqueeze(1)
            fed = sums.sum(2).transpose(0, 1)
            return added, h * _exp(dtA, lengths[:, None, None]) + B_bar * fed

        return carry

    def advance(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`TimeInvariantSSM.advance`."""
        dtA, B_bar, C = self._discretise()
        h = torch.exp(dtA) * h + B_bar * x_t.unsqueeze(-1)
        return _real((C * h).sum(-1)), h

    def _discretise(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return ΔA, B̄ = (exp(ΔA) − 1) / A for B = 1, and C: complex (D, N/2) or real (D, N)."""
        A, C = -torch.exp(widened(self.A_real_log)), widened(self.C)
        if self.complex_state:
            A, C = torch.complex(A, widened(self.A_imag)), torch.view_as_complex(C)
        dtA = A * torch.exp(widened(self.log_dt)).unsqueeze(-1)
        return dtA, torch.expm1(dtA) / A, C


def _split(seqlen: int, batch: int) -> tuple[int, int]:
    """Return M, near √(B L), and how many rows of M positions a sequence takes."""
    width = min(math.isqrt(max(batch * seqlen - 1, 0)) + 1, max(seqlen, 1))
    return width, -(-seqlen // width)


def _powers(dtA: Tensor, count: int) -> Tensor:
    """Return exp(ΔA)^k for k < count, (D, N/2 or N, count)."""
    k = torch.arange(count, device=dtA.device, dtype=dtA.real.dtype)
    return _exp(dtA.unsqueeze(-1), k)


def _exp(dtA: Tensor, k: Tensor) -> Tensor:
    """Return exp(ΔA k) for a real k, by its absolute value and its angle: five times as fast as PyTorch's."""
    if not dtA.is_complex():
        return torch.exp(dtA * k)
    return torch.polar(torch.exp(dtA.real * k), dtA.imag * k)


def _real_product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``_real(left @ right)``, of complex numbers as one product of real matrices."""
    if not left.is_complex():
        return left @ right
    left = torch.cat([2 * left.real, -2 * left.imag], dim=-1)
    return left @ torch.cat([right.real, right.imag], dim=-2)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right`` for a real ``left``, of complex numbers as one product of real matrices."""
    if not right.is_complex():
        return left @ right
    product = left @ torch.cat([right.real, right.imag], dim=-1)
    return torch.complex(*product.chunk(2, dim=-1))


def _real(pairs: Tensor) -> Tensor:
    """Return the sum of each complex number and its conjugate; real numbers stand for themselves."""
    return 2 * pairs.real if pairs.is_complex() else pairs

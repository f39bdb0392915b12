"""S4D: the diagonal state space model (Gu et al., 2022, arXiv 2206.11893)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from seqsuite.models.base import State, no_weight_decay
from seqsuite.models.initialization import log_uniform
from seqsuite.models.mixers.lti import TimeInvariantSSM
from seqsuite.options import PositiveFloat, PositiveInt


class S4D(TimeInvariantSSM):
    """Complex diagonal SSM, discretised by zero-order hold; B is absorbed into C.

    Args:
        d_model: Width D.
        d_state: Real state size N a channel, even: N/2 conjugate pairs.
        init: Initial A: ``"lin"`` is −1/2 + iπn (S4D-Lin), ``"inv"`` is −1/2 + iN/π (N/(2n + 1) − 1)
            (S4D-Inv).
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.
    """

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 64,
        init: Literal["lin", "inv"] = "lin",
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        super().__init__(d_model, d_state)
        pairs = d_state // 2
        n = torch.arange(pairs, dtype=torch.float32)
        imaginary = math.pi * n if init == "lin" else d_state / math.pi * (d_state / (2 * n + 1) - 1)
        self.log_dt = no_weight_decay(nn.Parameter(log_uniform(d_model, dt_min, dt_max).log()))
        self.A_real_log = no_weight_decay(nn.Parameter(torch.full((d_model, pairs), 0.5).log()))
        self.A_imag = no_weight_decay(nn.Parameter(imaginary.repeat(d_model, 1)))
        self.C = nn.Parameter(torch.randn(d_model, pairs, 2) * 0.5**0.5)

    def kernel(self, seqlen: int) -> Tensor:
        """See :meth:`TimeInvariantSSM.kernel`: a Vandermonde product, (D, seqlen)."""
        dtA, B_bar = self._discretise()
        weighted = torch.view_as_complex(self.C) * B_bar
        return 2 * torch.einsum("dn,dnl->dl", weighted, _powers(dtA, seqlen)).real

    def carry(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`TimeInvariantSSM.carry`."""
        dtA, B_bar = self._discretise()
        powers = _powers(dtA, x.shape[1] + 1)
        h = state["ssm"]
        output = torch.einsum("bdn,dn,dnl->bld", h, torch.view_as_complex(self.C), powers[..., 1:])
        fed = torch.einsum("bld,dnl->bdn", x.to(powers.dtype), powers[..., :-1].flip(-1))
        return 2 * output.real, {"ssm": h * powers[..., -1] + B_bar * fed}

    def advance(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`TimeInvariantSSM.advance`."""
        dtA, B_bar = self._discretise()
        h = torch.exp(dtA) * h + B_bar * x_t.unsqueeze(-1)
        return 2 * (torch.view_as_complex(self.C) * h).sum(-1).real, h

    def _discretise(self) -> tuple[Tensor, Tensor]:
        """Return ΔA and B̄ = (exp(ΔA) − 1) / A for B = 1, both complex (D, N/2)."""
        A = torch.complex(-torch.exp(self.A_real_log), self.A_imag)
        dtA = A * torch.exp(self.log_dt).unsqueeze(-1)
        return dtA, (torch.exp(dtA) - 1) / A


def _powers(dtA: Tensor, count: int) -> Tensor:
    """Return exp(ΔA)^k for k < count, complex (D, N/2, count)."""
    k = torch.arange(count, device=dtA.device, dtype=dtA.real.dtype)
    return torch.exp(dtA.unsqueeze(-1) * k)

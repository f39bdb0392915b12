"""The selective state space model (S6) of the Mamba paper, section 3."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ScanWeights, selective_scan, selective_state_update
from seqsuite.models.base import GatedMixer, State, no_weight_decay
from seqsuite.models.initialization import inverse_softplus, log_uniform
from seqsuite.options import PositiveFloat, PositiveInt


class S6(GatedMixer):
    """Selective SSM: Δ, B and C are functions of the input (Mamba, Algorithm 2).

    Args:
        d_model: Width D of inputs and outputs.
        d_state: States N a channel.
        dt_rank: Rank of the projection to Δ; ``"auto"`` is ⌈d_model / 32⌉: the paper's sixteenth of the
            residual width, which is half as wide as the inside of a Mamba block.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.
    """

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 16,
        dt_rank: PositiveInt | Literal["auto"] = "auto",
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        super().__init__()
        self.d_model, self.d_state = d_model, d_state
        self.dt_rank = math.ceil(d_model / 32) if dt_rank == "auto" else dt_rank
        self.x_proj = nn.Linear(d_model, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, d_model)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        self.dt_proj.bias = no_weight_decay(
            nn.Parameter(inverse_softplus(log_uniform(d_model, dt_min, dt_max)))
        )
        s4d_real = torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(d_model, 1)
        self.A_log = no_weight_decay(nn.Parameter(s4d_real))  # A = -(n + 1), S4D-Real
        self.D = no_weight_decay(nn.Parameter(torch.ones(d_model)))

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`; ``gate`` (B, L, D) multiplies the output by silu(gate)."""
        dt, B, C = self._project(x)
        y, ssm = selective_scan(
            x,
            dt,
            -torch.exp(self.A_log),
            B,
            C,
            self.D,
            z=gate,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            initial_state=None if state is None else state["ssm"],
            cu_seqlens=cu_seqlens,
            return_final_state=True,
        )
        return y, None if state is None else {"ssm": ssm}

    def step(self, x_t: Tensor, state: State, gate: Tensor | None = None) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`; ``gate`` (B, D) multiplies the output by silu(gate)."""
        dt, B, C = self._project(x_t)
        y, ssm = selective_state_update(
            state["ssm"],
            x_t,
            dt,
            -torch.exp(self.A_log),
            B,
            C,
            self.D,
            z=gate,
            dt_bias=self.dt_proj.bias,
            dt_softplus=True,
        )
        return y, {"ssm": ssm}

    def scan_weights(self) -> ScanWeights:
        """See :meth:`GatedMixer.scan_weights`."""
        dt_proj = self.dt_proj
        return ScanWeights(self.x_proj.weight, dt_proj.weight, dt_proj.bias, -torch.exp(self.A_log), self.D)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a zero state ``ssm`` (B, D, N), in float32 at least."""
        dtype = torch.promote_types(dtype or self.A_log.dtype, torch.float32)
        return {"ssm": torch.zeros(batch_size, self.d_model, self.d_state, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return D · N, whatever the length."""
        return self.d_model * self.d_state

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the raw step sizes (…, D) and the input-dependent B and C (…, N)."""
        dt, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        return F.linear(dt, self.dt_proj.weight), B, C

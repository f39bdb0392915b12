"""SSD, the mixer of Mamba-2 (Dao & Gu, 2024, arXiv 2405.21060)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ssd, ssd_state_update
from seqsuite.kernels.mamba_decoder.weights import SSDWeights
from seqsuite.models.base import ControlledMixer, Controls, Inspected, State
from seqsuite.models.initialization import assign, inverse_softplus, log_uniform
from seqsuite.models.precision import widened
from seqsuite.models.split import state_before
from seqsuite.options import PositiveFloat, PositiveInt


class SSD(ControlledMixer):
    """Selective SSM with one decay a head (Mamba-2).

    Its controls are B and C of each group and Δ of each head. The mamba2 block projects them from the
    residual stream together with x, as Mamba-2 does; elsewhere the layer projects them from its own input.

    Args:
        d_model: Width D of inputs and outputs.
        d_state: States N a channel.
        head_dim: Channels P a head; ``"auto"`` is 64, or the largest power of two below it that divides D.
        n_groups: Groups G of heads that share B and C.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.

    Raises:
        ValueError: if heads do not fill the width, or groups the heads.
    """

    splits = True
    no_weight_decay = frozenset({"dt_bias", "A_log", "D"})

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 128,
        head_dim: PositiveInt | Literal["auto"] = "auto",
        n_groups: PositiveInt = 1,
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        width = math.gcd(64, d_model) if head_dim == "auto" else head_dim
        n_heads = d_model // width
        if d_model % width:
            raise ValueError(f"ssd needs d_model divisible by head_dim, got {d_model} by {width}")
        if n_heads % n_groups:
            raise ValueError(f"ssd needs its {n_heads} heads divisible by n_groups, got {n_groups}")
        super().__init__(d_model, convolved=2 * n_groups * d_state, plain=n_heads)
        self.n_heads, self.head_dim, self.n_groups, self.d_state = n_heads, width, n_groups, d_state
        self.dt_min, self.dt_max = dt_min, dt_max
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.empty(n_heads)) for _ in range(3))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw Δ log-uniform and −A from [1, 16], and set the skip to 1."""
        assign(self.dt_bias, inverse_softplus(log_uniform(self.n_heads, self.dt_min, self.dt_max)))
        assign(self.A_log, torch.empty(self.n_heads).uniform_(1, 16).log())
        assign(self.D, torch.ones(self.n_heads))

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        controls: Controls | None = None,
    ) -> tuple[Tensor, State | None]:
        """See :meth:`ControlledMixer.forward`."""
        B, C, dt = self._split(self.controls_of(x, controls))
        before = None
        if state is not None:
            before = state_before(state["ssm"], lambda: self._summary(x, dt, B, C))
        y, after = ssd(
            self._heads(x),
            dt,
            self._A(),
            B,
            C,
            self.D,
            dt_bias=self.dt_bias,
            dt_softplus=True,
            initial_state=before,
            cu_seqlens=cu_seqlens,
            return_final_state=True,
        )
        return y.flatten(-2), None if state is None else {"ssm": after}

    def step(self, x_t: Tensor, state: State, controls: Controls | None = None) -> tuple[Tensor, State]:
        """See :meth:`ControlledMixer.step`."""
        B, C, dt = self._split(self.controls_of(x_t, controls))
        y, after = ssd_state_update(
            state["ssm"],
            self._heads(x_t),
            dt,
            self._A(),
            B,
            C,
            self.D,
            dt_bias=self.dt_bias,
            dt_softplus=True,
        )
        return y.flatten(-2), {"ssm": after}

    def inspect(self, x: Tensor, controls: Controls | None = None) -> dict[str, Inspected]:
        """Return ``delta`` and ``decay`` exp(ΔA) (B, L, H), and ``B`` and ``C`` (B, L, G, N)."""
        B, C, dt = self._split(self.controls_of(x, controls))
        delta = F.softplus(dt + self.dt_bias)
        by_head, by_group = ("batch", "position", "head"), ("batch", "position", "group", "state")
        return {
            "delta": Inspected(delta, by_head, "time a position"),
            "decay": Inspected(torch.exp(delta * self._A()), by_head, "share kept a position"),
            "B": Inspected(B, by_group),
            "C": Inspected(C, by_group),
        }

    def flops(self, seqlen: int) -> int:
        """Return those of the recurrence: Δu, and input, decay and output of each state."""
        return seqlen * self.n_heads * self.head_dim * (1 + 3 * self.d_state)

    def ssd_weights(self) -> SSDWeights:
        """See :meth:`ControlledMixer.ssd_weights`."""
        return SSDWeights(self._A(), self.D, self.dt_bias, self.n_groups)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a zero state ``ssm`` (B, H, P, N), in float32 at least."""
        dtype = torch.promote_types(dtype or self.D.dtype, torch.float32)
        size = (batch_size, self.n_heads, self.head_dim, self.d_state)
        return {"ssm": torch.zeros(size, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return D · N, whatever the length."""
        return self.n_heads * self.head_dim * self.d_state

    def _summary(self, x: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decay of inputs x (B, L, D) in all, (B, H, 1, 1), and the state after them from zero."""
        A, delta = self._A(), F.softplus(widened(dt) + self.dt_bias)
        _, final = ssd(
            self._heads(x), dt, A, B, C, dt_bias=self.dt_bias, dt_softplus=True, return_final_state=True
        )
        return torch.exp(delta.sum(1) * A)[..., None, None], final

    def _A(self) -> Tensor:
        return -torch.exp(widened(self.A_log))

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.n_heads, self.head_dim)

    def _split(self, controls: Controls) -> tuple[Tensor, Tensor, Tensor]:
        """Return B and C (…, G, N) and the raw step sizes (…, H)."""
        convolved, dt = controls
        B, C = convolved.reshape(*dt.shape[:-1], 2, self.n_groups, self.d_state).unbind(-3)
        return B, C, dt

"""The selective state space model (S6) of the Mamba paper, section 3, with the switches of its ablations."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ScanWeights, parallel_scan, selective_scan, selective_state_update
from seqsuite.models.base import GatedMixer, Inspected, State, is_plain_linear, no_weight_decay
from seqsuite.models.initialization import (
    ComplexInit,
    RealInit,
    diagonal_A,
    inverse_softplus,
    log_uniform,
)
from seqsuite.options import PositiveFloat, PositiveInt


class S6(GatedMixer):
    """Selective SSM: Δ, B and C are functions of the input (Mamba, Algorithm 2).

    What is not selective is a learned constant of each channel, as in S4 (Mamba, Algorithm 1 and Table 7): Δ
    with ``dt_rank=none``, B and C by their switches.

    With a complex A, B, C and the state are complex too: N/2 conjugate pairs in place of N real states. The
    fused kernels for GPUs are for a real A: there a complex one runs step by step in plain PyTorch, correct
    but many times slower, and with every state kept for the backward pass.

    Args:
        d_model: Width D of inputs and outputs.
        d_state: States N a channel, counted as real numbers.
        dt_rank: Rank of the projection to Δ; ``"auto"`` is ⌈d_model / 32⌉: the paper's sixteenth of the
            residual width, which is half as wide as the inside of a Mamba block. ``None`` is a static Δ
            (Table 9).
        selective_B: Whether B is a function of the input.
        selective_C: Whether C is a function of the input.
        A_init: Initial A (Table 8): real with ``"real"``, −(n + 1), ``"random"``, −exp(N(0, 1)), and
            ``"half"``, −1/2; complex with ``"lin"``, −1/2 + iπn, ``"inv"`` and ``"legs"``.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation; Δ is log-uniform between the two.
    """

    def __init__(
        self,
        d_model: int,
        d_state: PositiveInt = 16,
        dt_rank: PositiveInt | Literal["auto"] | None = "auto",
        selective_B: bool = True,
        selective_C: bool = True,
        A_init: RealInit | ComplexInit = "real",
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
    ) -> None:
        super().__init__()
        self.d_model, self.d_state = d_model, d_state
        self.dt_rank = math.ceil(d_model / 32) if dt_rank == "auto" else dt_rank or 0
        self.selective_B, self.selective_C = selective_B, selective_C
        widths = self._projected_widths()
        self.x_proj = nn.Linear(d_model, sum(widths), bias=False) if sum(widths) else None
        dt_bias = no_weight_decay(nn.Parameter(inverse_softplus(log_uniform(d_model, dt_min, dt_max))))
        if self.dt_rank:
            self.dt_proj = nn.Linear(self.dt_rank, d_model)
            nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
            self.dt_proj.bias = dt_bias
        else:
            self.dt_bias = dt_bias
        log, imaginary = diagonal_A(A_init, d_model, d_state)
        self.complex = imaginary is not None
        if imaginary is None:
            self.A_log = no_weight_decay(nn.Parameter(log))
        else:
            self.A_real_log = no_weight_decay(nn.Parameter(log))
            self.A_imag = no_weight_decay(nn.Parameter(imaginary))
        self._make_constants()
        self.D = no_weight_decay(nn.Parameter(torch.ones(d_model)))

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`; ``gate`` (B, L, D) multiplies the output by silu(gate)."""
        dt, B, C = self._controls(x)
        y, ssm = selective_scan(
            x,
            dt,
            self._A(),
            B,
            C,
            self.D,
            z=gate,
            delta_bias=self._dt_bias(),
            delta_softplus=True,
            initial_state=None if state is None else state["ssm"],
            cu_seqlens=cu_seqlens,
            return_final_state=True,
        )
        return y, None if state is None else {"ssm": ssm}

    def step(self, x_t: Tensor, state: State, gate: Tensor | None = None) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`; ``gate`` (B, D) multiplies the output by silu(gate)."""
        dt, *projections = self._controls(x_t)
        B, C = self._by_position(dt, *projections)
        y, ssm = selective_state_update(
            state["ssm"],
            x_t,
            dt,
            self._A(),
            B,
            C,
            self.D,
            z=gate,
            dt_bias=self._dt_bias(),
            dt_softplus=True,
        )
        return y, {"ssm": ssm}

    def scan_weights(self) -> ScanWeights | None:
        """See :meth:`GatedMixer.scan_weights`."""
        if (
            self.complex
            or self.x_proj is None
            or not (self.dt_rank and self.selective_B and self.selective_C)
            or not is_plain_linear(self.x_proj, self.dt_proj)
        ):
            return None
        dt_proj = self.dt_proj
        return ScanWeights(self.x_proj.weight, dt_proj.weight, dt_proj.bias, -torch.exp(self.A_log), self.D)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a zero state ``ssm`` (B, D, N), in float32 at least; complex (B, D, N/2) if A is."""
        dtype = torch.promote_types(dtype or self.D.dtype, torch.float32)
        size = (batch_size, self.d_model, self.d_state)
        if self.complex:
            size, dtype = (batch_size, self.d_model, self.d_state // 2), dtype.to_complex()
        return {"ssm": torch.zeros(size, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return D · N, whatever the length."""
        return self.d_model * self.d_state

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return ``delta`` (B, L, D), ``decay`` exp(ΔA) and ``state`` (B, L, D, N), and ``B`` and ``C``.

        B and C are (B, L, N), or (B, L, D, N) where one is constant; complex if A is, with N/2 for N.
        """
        dt, *projections = self._controls(x)
        B, C = self._by_position(dt, *projections)
        bias = self._dt_bias()
        delta = F.softplus(dt if bias is None else dt + bias)
        decay = torch.exp(delta.unsqueeze(-1) * self._A())
        fed = (delta * x).unsqueeze(-1) * (B if B.dim() == 4 else B.unsqueeze(2))
        state = parallel_scan(decay, fed.to(decay.dtype))
        by_channel = ("batch", "position", "channel", "state")
        projected = {4: by_channel, 3: ("batch", "position", "state")}
        return {
            "delta": Inspected(delta, by_channel[:3], "time a position"),
            "decay": Inspected(decay, by_channel, "share kept a position"),
            "state": Inspected(state, by_channel),
            "B": Inspected(B, projected[B.dim()]),
            "C": Inspected(C, projected[C.dim()]),
        }

    def _projected_widths(self) -> list[int]:
        """Return how many numbers of Δ's low rank, B and C are projected from the input."""
        return [self.dt_rank, self.d_state * self.selective_B, self.d_state * self.selective_C]

    def _make_constants(self) -> None:
        """Make B and C where they are not selective, and start them as S4D does: at 1 and normal."""
        if self.complex:
            size: tuple[int, ...] = (self.d_model, self.d_state // 2, 2)
            one, normal = torch.zeros(size), torch.randn(size) * 0.5**0.5
            one[..., 0] = 1
        else:
            size = (self.d_model, self.d_state)
            one, normal = torch.ones(size), torch.randn(size)
        self.B = None if self.selective_B else no_weight_decay(nn.Parameter(one))
        self.C = None if self.selective_C else nn.Parameter(normal)

    def _A(self) -> Tensor:
        if self.complex:
            return torch.complex(-torch.exp(self.A_real_log), self.A_imag)
        return -torch.exp(self.A_log)

    def _dt_bias(self) -> Tensor | None:
        """Return what the kernels add to the raw step sizes, ``None`` where the projection did."""
        if not self.dt_rank:
            return self.dt_bias
        return self.dt_proj.bias if is_plain_linear(self.dt_proj) else None

    def _controls(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the raw step sizes (…, D), and B and C, (…, N) where they are selective, else (D, N)."""
        projected = x.new_empty(*x.shape[:-1], 0) if self.x_proj is None else self.x_proj(x)
        dt, B, C = projected.split(self._projected_widths(), dim=-1)
        if not self.dt_rank:
            dt = torch.zeros_like(x)
        elif is_plain_linear(self.dt_proj):
            dt = F.linear(dt, self.dt_proj.weight)
        else:
            dt = self.dt_proj(dt)
        B = self._from_projection(B) if self.B is None else self._from_parameter(self.B)
        C = self._from_projection(C) if self.C is None else self._from_parameter(self.C)
        return dt, B, C

    def _by_position(self, dt: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        """Return B and C as they are if both are selective, else each as (…, D, N)."""
        if self.selective_B and self.selective_C:
            return B, C
        B = B.unsqueeze(-2) if self.selective_B else B
        C = C.unsqueeze(-2) if self.selective_C else C
        size = (*dt.shape, -1)
        return B.expand(size), C.expand(size)

    def _from_projection(self, values: Tensor) -> Tensor:
        if not self.complex:
            return values
        values = values.to(torch.promote_types(values.dtype, torch.float32))  # half has no complex dtype
        return torch.complex(*values.chunk(2, dim=-1))

    def _from_parameter(self, values: Tensor) -> Tensor:
        return torch.view_as_complex(values) if self.complex else values

"""The selective state space model (S6) of the Mamba paper, section 3, with the switches of its ablations."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ScanWeights, parallel_scan, selective_scan, selective_state_update
from seqsuite.models.base import GatedMixer, Inspected, State, is_plain_linear
from seqsuite.models.initialization import (
    ComplexInit,
    RealInit,
    assign,
    diagonal_A,
    inverse_softplus,
    is_complex,
    log_uniform,
)
from seqsuite.models.precision import widened
from seqsuite.models.split import state_before
from seqsuite.options import PositiveFloat, PositiveInt


class StepProjection(nn.Linear):
    """From the low rank to the step sizes; its bias starts so that Δ is log-uniform.

    Args:
        dt_rank: Width R of the input.
        d_model: Width D of the output.
        dt_min: Smallest Δ at initialisation.
        dt_max: Largest Δ at initialisation.
    """

    def __init__(self, dt_rank: int, d_model: int, dt_min: float, dt_max: float) -> None:
        self.dt_min, self.dt_max = dt_min, dt_max
        super().__init__(dt_rank, d_model)

    def reset_parameters(self) -> None:
        """Draw the weight uniformly within ±1/√R, and the bias."""
        step_sizes = log_uniform(self.out_features, self.dt_min, self.dt_max)
        super().reset_parameters()
        nn.init.uniform_(self.weight, -(self.in_features**-0.5), self.in_features**-0.5)
        assign(self.bias, inverse_softplus(step_sizes))


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

    Raises:
        ValueError: if A is complex and N is odd.
    """

    splits = True
    no_weight_decay = frozenset({"dt_bias", "A_log", "A_real_log", "A_imag", "B", "D"})

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
        self.A_init, self.dt_min, self.dt_max = A_init, dt_min, dt_max
        if self.dt_rank:
            self.dt_proj = StepProjection(self.dt_rank, d_model, dt_min, dt_max)
        else:
            self.dt_bias = nn.Parameter(torch.empty(d_model))
        self.complex = is_complex(A_init)
        size: tuple[int, ...] = (d_model, d_state)
        if self.complex:
            pairs = d_state // 2
            self.A_real_log, self.A_imag = (nn.Parameter(torch.empty(d_model, pairs)) for _ in range(2))
            size = (d_model, pairs, 2)
        else:
            self.A_log = nn.Parameter(torch.empty(size))
        self.B, self.C = (
            None if selective else nn.Parameter(torch.empty(size)) for selective in (selective_B, selective_C)
        )
        self.D = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start A as the options say, the skip at 1, and a B and C that are not selective as S4D does."""
        if not self.dt_rank:
            assign(self.dt_bias, inverse_softplus(log_uniform(self.d_model, self.dt_min, self.dt_max)))
        log, imaginary = diagonal_A(self.A_init, self.d_model, self.d_state)
        assign(self.A_log if imaginary is None else self.A_real_log, log)
        if imaginary is not None:
            assign(self.A_imag, imaginary)
        if self.B is not None:
            one = torch.ones(self.B.shape)
            if self.complex:
                one[..., 1] = 0
            assign(self.B, one)
        # Drawn in any case: what comes after it starts alike, whatever is selective.
        normal = torch.randn((self.d_model, self.d_state // 2, 2) if self.complex else log.shape)
        if self.C is not None:
            assign(self.C, normal * 0.5**0.5 if self.complex else normal)
        assign(self.D, torch.ones(self.d_model))

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`; ``gate`` (B, L, D) multiplies the output by silu(gate)."""
        A, (dt, B, C) = self._A(), self._controls(x)
        before = None
        if state is not None:
            before = state_before(state["ssm"], lambda: self._summary(x, dt, A, B, C))
        y, ssm = selective_scan(
            x,
            dt,
            A,
            B,
            C,
            self.D,
            z=gate,
            delta_bias=self._dt_bias(),
            delta_softplus=True,
            initial_state=before,
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
        return ScanWeights(self.x_proj.weight, dt_proj.weight, dt_proj.bias, self._A(), self.D)

    def flops(self, seqlen: int) -> int:
        """Return those of the scan: Δu, and of each state Δ·A, input, decay and output.

        A pair of complex states takes twice as many as two real ones.
        """
        return seqlen * self.d_model * (1 + 4 * self.d_state * (2 if self.complex else 1))

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

    def _summary(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        """Return what inputs x (B, L, D) do to a state, and the state after them from zero, (B, D, N)."""
        bias = self._dt_bias()
        delta = F.softplus(widened(dt) if bias is None else widened(dt) + bias)
        _, final = selective_scan(
            x, dt, A, B, C, delta_bias=bias, delta_softplus=True, return_final_state=True
        )
        return torch.exp(delta.sum(1).unsqueeze(-1) * A), final

    def _projected_widths(self) -> list[int]:
        """Return how many numbers of Δ's low rank, B and C are projected from the input."""
        return [self.dt_rank, self.d_state * self.selective_B, self.d_state * self.selective_C]

    def _A(self) -> Tensor:
        if self.complex:
            return torch.complex(-torch.exp(widened(self.A_real_log)), widened(self.A_imag))
        return -torch.exp(widened(self.A_log))

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
        return torch.view_as_complex(widened(values)) if self.complex else values

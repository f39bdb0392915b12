"""Gated DeltaNet (Yang, Kautz & Hatamizadeh, 2024, arXiv 2412.06464)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import gated_delta_rule, gated_delta_update
from seqsuite.models.base import Inspected, Mixer, State
from seqsuite.models.initialization import assign, inverse_softplus, log_uniform
from seqsuite.models.precision import widened
from seqsuite.models.short_convolution import convolve, convolve_step, short_filters
from seqsuite.models.split import state_before
from seqsuite.options import PositiveFloat, PositiveInt


class GatedDelta(Mixer):
    """Gated delta rule: linear attention that decays as Mamba-2 does and overwrites what a key held.

    Queries, keys and values pass a short convolution and SiLU, queries and keys are brought to norm 1; the
    heads' outputs are normalised and gated (the paper's Figure 1).

    Args:
        d_model: Width D.
        n_heads: Heads H; D must be a multiple of H.
        value_expand: Width of values and gate over D.
        d_conv: Taps K of the convolution.
        dt_min: Smallest step size at initialisation, that the decay is made of.
        dt_max: Largest step size at initialisation; it is log-uniform between the two.
        negative_eigenvalues: Whether β goes to 2 and not to 1, so that the eigenvalues of what a state is
            multiplied by are in [−1, 1]: without negative ones no state can flip, as parity asks for
            (Grazzi et al., arXiv 2411.12537).

    Raises:
        ValueError: if the heads do not divide the width.
    """

    splits = True
    no_weight_decay = frozenset({"dt_bias", "A_log"})

    def __init__(
        self,
        d_model: int,
        n_heads: PositiveInt = 4,
        value_expand: PositiveInt = 2,
        d_conv: PositiveInt = 4,
        dt_min: PositiveFloat = 1e-3,
        dt_max: PositiveFloat = 1e-1,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"gated_delta needs d_model divisible by n_heads, got {d_model} by {n_heads}")
        self.n_heads, self.head_dim, self.d_conv = n_heads, d_model // n_heads, d_conv
        self.value_dim = value_expand * self.head_dim
        self.d_key, self.d_value = d_model, value_expand * d_model
        self.d_convolved = 2 * self.d_key + self.d_value
        self.in_proj = nn.Linear(d_model, self.d_convolved + self.d_value + 2 * n_heads, bias=False)
        self.dt_min, self.dt_max = dt_min, dt_max
        self.largest_beta = 2.0 if negative_eigenvalues else 1.0
        self.conv_weight = nn.Parameter(torch.empty(self.d_convolved, d_conv))
        self.dt_bias, self.A_log = (nn.Parameter(torch.empty(n_heads)) for _ in range(2))
        self.reset_parameters()
        self.norm = nn.RMSNorm(self.value_dim, eps=1e-5)
        self.out_proj = nn.Linear(self.d_value, d_model, bias=False)

    def reset_parameters(self) -> None:
        """Draw the filters as a short convolution's, Δ log-uniform and −A from [1, 16]."""
        assign(self.conv_weight, short_filters(self.d_convolved, self.d_conv))
        assign(self.dt_bias, inverse_softplus(log_uniform(self.n_heads, self.dt_min, self.dt_max)))
        assign(self.A_log, torch.empty(self.n_heads).uniform_(1, 16).log())

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        qkv, gate, controls = self._project(x)
        history = None if state is None else state["window"]
        qkv, history = convolve(qkv, history, self.conv_weight, activation=True, cu_seqlens=cu_seqlens)
        inputs = (*self._heads(qkv), *self._controls(controls))
        before = None
        if state is not None:
            before = state_before(state["delta"], lambda: self._summary(*inputs), torch.matmul)
        y, after = gated_delta_rule(*inputs, initial_state=before, cu_seqlens=cu_seqlens)
        return self._finish(y, gate), None if history is None else {"window": history, "delta": after}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        qkv, gate, controls = self._project(x_t)
        qkv, history = convolve_step(qkv, state["window"], self.conv_weight, activation=True)
        y, after = gated_delta_update(state["delta"], *self._heads(qkv), *self._controls(controls))
        return self._finish(y, gate), {"window": history, "delta": after}

    def flops(self, seqlen: int) -> int:
        """Return those of the rule: decay, recall, correction and output of each state."""
        return 4 * seqlen * self.n_heads * self.head_dim * self.value_dim

    def output_projection(self) -> nn.Linear:
        """See :meth:`Mixer.output_projection`."""
        return self.out_proj

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return ``decay`` α and ``beta`` (B, L, H): how much is kept, and how much of a value replaced."""
        log_decay, beta = self._controls(self._project(x)[2])
        axes = ("batch", "position", "head")
        return {
            "decay": Inspected(torch.exp(log_decay), axes, "share kept a position"),
            "beta": Inspected(beta, axes, "share replaced"),
        }

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return zero ``window`` (B, K − 1, …), and zero ``delta`` (B, H, P, N), in float32 at least."""
        dtype = dtype or self.in_proj.weight.dtype
        window = torch.zeros(batch_size, self.d_conv - 1, self.d_convolved, device=device, dtype=dtype)
        size = (batch_size, self.n_heads, self.value_dim, self.head_dim)
        wide = torch.promote_types(dtype, torch.float32)
        return {"window": window, "delta": torch.zeros(size, device=device, dtype=wide)}

    def state_size(self, seqlen: int) -> int:
        """Return the size of the matrices and of the convolution's last inputs, whatever the length."""
        return self.d_value * self.head_dim + (self.d_conv - 1) * self.d_convolved

    def _summary(
        self, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, beta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the matrix (B, H, N, N) that a state is multiplied by, and the state after from zero.

        The rows of a state do not mix: N more of them, which start as the identity and are given no values,
        end as the matrix.
        """
        batch, _, heads, width = key.shape
        rows = value.shape[-1]
        start = torch.eye(rows + width, width, device=key.device, dtype=key.dtype).roll(rows, 0)
        _, final = gated_delta_rule(
            query,
            key,
            F.pad(value, (0, width)),
            log_decay,
            beta,
            initial_state=start.expand(batch, heads, -1, -1),
        )
        after, transition = torch.split(final, [rows, width], dim=2)
        return transition, after

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values side by side, the gate, and what decays and β are made of."""
        widths = [self.d_convolved, self.d_value, 2 * self.n_heads]
        qkv, gate, controls = self.in_proj(x).split(widths, dim=-1)
        return qkv, gate, controls

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys of norm 1 (…, H, N), in float32 at least, and values (…, H, P)."""
        query, key, value = torch.split(qkv, [self.d_key, self.d_key, self.d_value], dim=-1)
        size = (*qkv.shape[:-1], self.n_heads, -1)
        query, key = (F.normalize(widened(t.reshape(size)), dim=-1, eps=1e-6) for t in (query, key))
        return query, key, value.reshape(size)

    def _controls(self, controls: Tensor) -> tuple[Tensor, Tensor]:
        """Return log α = −exp(A_log) · softplus(…) and β, (…, H), the former in float32 at least."""
        raw, beta = controls.chunk(2, dim=-1)
        delta = F.softplus(widened(raw) + self.dt_bias)
        return -torch.exp(widened(self.A_log)) * delta, self.largest_beta * torch.sigmoid(beta)

    def _finish(self, y: Tensor, gate: Tensor) -> Tensor:
        normed = self.norm(y.to(self.norm.weight.dtype)).flatten(-2)
        out: Tensor = self.out_proj(normed * F.silu(gate))
        return out

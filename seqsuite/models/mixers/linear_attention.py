"""Linear attention (Katharopoulos et al., 2020, arXiv 2006.16236)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ssd, ssd_state_update
from seqsuite.models.base import Inspected, Mixer, State
from seqsuite.models.split import state_before
from seqsuite.options import PositiveInt


class LinearAttention(Mixer):
    """Causal attention with φ(q) · φ(k) in place of exp(q · k), φ = elu + 1: a recurrence of constant size.

    The sums over keys and values, and over keys alone for the denominator, are a state space model without
    decay, in which the denominator is one more value: the constant 1.

    Args:
        d_model: Width D.
        n_heads: Heads H; D must be a multiple of H.
        bias: Whether the projections have biases.

    Raises:
        ValueError: if the heads do not divide the width.
    """

    splits = True

    def __init__(self, d_model: int, n_heads: PositiveInt = 8, bias: bool = False) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(
                f"linear attention needs d_model divisible by n_heads, got {d_model} by {n_heads}"
            )
        self.n_heads, self.head_dim = n_heads, d_model // n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        query, key, value = self._project(x)
        inputs = (value, torch.ones_like(value[..., 0]), value.new_zeros(self.n_heads), key, query)
        before = None
        if state is not None:
            before = state_before(
                state["sums"], lambda: (value.new_ones(()), ssd(*inputs, return_final_state=True)[1])
            )
        sums, after = ssd(*inputs, initial_state=before, cu_seqlens=cu_seqlens, return_final_state=True)
        return self._normalise(sums), None if state is None else {"sums": after}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        query, key, value = self._project(x_t)
        ones = torch.ones_like(value[..., 0])
        no_decay = value.new_zeros(self.n_heads)
        sums, after = ssd_state_update(state["sums"], value, ones, no_decay, key, query)
        return self._normalise(sums), {"sums": after}

    def flops(self, seqlen: int) -> int:
        """Return those of adding to the sums and of reading them, the denominator's included."""
        return 2 * seqlen * self.n_heads * self.head_dim * (self.head_dim + 1)

    def output_projection(self) -> nn.Linear:
        """See :meth:`Mixer.output_projection`."""
        return self.out_proj

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return the normalised attention ``weights`` (B, H, L, L), a row for each query."""
        query, key, _ = self._project(x)
        scores = (query.transpose(1, 2) @ key.permute(0, 2, 3, 1)).tril()
        shares = scores / scores.sum(-1, keepdim=True)
        return {"weights": Inspected(shares, ("batch", "head", "query", "key"), "share of the query")}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return zero ``sums`` (B, H, D / H + 1, D / H), in float32 at least."""
        dtype = torch.promote_types(dtype or self.qkv.weight.dtype, torch.float32)
        size = (batch_size, self.n_heads, self.head_dim + 1, self.head_dim)
        return {"sums": torch.zeros(size, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return D · (D / H + 1), whatever the length."""
        return self.n_heads * self.head_dim * (self.head_dim + 1)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return φ(q) and φ(k) (…, H, P), and the values with a 1 behind them (…, H, P + 1)."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).unbind(-3)
        return F.elu(query) + 1, F.elu(key) + 1, F.pad(value, (0, 1), value=1.0)

    def _normalise(self, sums: Tensor) -> Tensor:
        y: Tensor = self.out_proj((sums[..., :-1] / sums[..., -1:]).flatten(-2))
        return y

"""Retention, the mixer of RetNet (Sun et al., 2023, arXiv 2307.08621)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import ssd, ssd_state_update
from seqsuite.models.base import Inspected, Mixer, State, positions_of
from seqsuite.models.mixers.positions import rotate
from seqsuite.models.split import state_before
from seqsuite.options import PositiveFloat, PositiveInt


class Retention(Mixer):
    """Gated multi-scale retention: attention without softmax, whose heads forget at fixed rates.

    Head h keeps γ_h = 1 − 2^(−5 − h) of its state a position, queries and keys are turned by their position,
    the heads' outputs are normalised one by one and gated by silu (the paper's equation 8). Whole sequences
    run in its chunkwise form, steps in its recurrent one.

    Args:
        d_model: Width D.
        n_heads: Heads H; D must be a multiple of H, into even parts.
        value_expand: Width of values and gate over D.
        rotary_base: Base of the rotary frequencies.

    Raises:
        ValueError: if the heads do not divide the width into even parts.
    """

    splits = True

    def __init__(
        self,
        d_model: int,
        n_heads: PositiveInt = 4,
        value_expand: PositiveInt = 2,
        rotary_base: PositiveFloat = 10_000.0,
    ) -> None:
        super().__init__()
        if d_model % n_heads or d_model // n_heads % 2:
            raise ValueError(
                f"retention needs d_model divisible by n_heads into even parts, got {d_model} by {n_heads}"
            )
        self.n_heads, self.head_dim, self.rotary_base = n_heads, d_model // n_heads, rotary_base
        d_value = value_expand * d_model
        self.value_dim = d_value // n_heads
        self.in_proj = nn.Linear(d_model, 2 * d_model + 2 * d_value, bias=False)
        self.out_proj = nn.Linear(d_value, d_model, bias=False)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        positions = positions_of(x, None if state is None else state["position"], cu_seqlens)
        query, key, value, gate = self._project(x, positions)
        inputs = (value, torch.ones_like(value[..., 0]), self.log_gamma(x.device), key, query)
        before = None
        if state is not None:
            before = state_before(state["retained"], lambda: self._summary(*inputs))
        retained, after = ssd(*inputs, initial_state=before, cu_seqlens=cu_seqlens, return_final_state=True)
        y = self._finish(retained, gate)
        if state is None:
            return y, None
        seen = x.shape[1] if cu_seqlens is None else cu_seqlens.diff()
        return y, {"retained": after, "position": state["position"] + seen}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        query, key, value, gate = (
            v.squeeze(1) for v in self._project(x_t.unsqueeze(1), state["position"].unsqueeze(1))
        )
        ones, log_gamma = torch.ones_like(value[..., 0]), self.log_gamma(x_t.device)
        retained, after = ssd_state_update(state["retained"], value, ones, log_gamma, key, query)
        return self._finish(retained, gate), {"retained": after, "position": state["position"] + 1}

    def flops(self, seqlen: int) -> int:
        """Return those of the recurrence: input, decay and output of each state."""
        return 3 * seqlen * self.n_heads * self.head_dim * self.value_dim

    def output_projection(self) -> nn.Linear:
        """See :meth:`Mixer.output_projection`."""
        return self.out_proj

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return each head's ``decay`` γ (H,), and the ``weights`` (B, H, L, L), decay included."""
        positions = positions_of(x, None, None)
        query, key, _, _ = self._project(x, positions)
        decay = torch.exp(self.log_gamma(x.device))
        distance = (positions.T - positions).clamp_min(0)
        scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) * decay[:, None, None] ** distance
        return {
            "decay": Inspected(decay, ("head",), "share kept a position"),
            "weights": Inspected(scores.tril(), ("batch", "head", "query", "key")),
        }

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return zero ``retained`` (B, H, P_value, P), in float32 at least, and ``position`` (B,)."""
        dtype = torch.promote_types(dtype or self.in_proj.weight.dtype, torch.float32)
        size = (batch_size, self.n_heads, self.value_dim, self.head_dim)
        return {
            "retained": torch.zeros(size, device=device, dtype=dtype),
            "position": torch.zeros(batch_size, device=device, dtype=torch.int64),
        }

    def state_size(self, seqlen: int) -> int:
        """Return the state's size and one for the position, whatever the length."""
        return self.n_heads * self.value_dim * self.head_dim + 1

    def log_gamma(self, device: torch.device) -> Tensor:
        """Return log γ of each head, float32 (H,). It is no buffer: those are lost on the device "meta"."""
        heads = torch.arange(self.n_heads, device=device, dtype=torch.float32)
        return torch.log1p(-(2.0 ** (-5.0 - heads)))

    def _summary(
        self, value: Tensor, ones: Tensor, log_gamma: Tensor, key: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what is kept of a state over so many positions, (H, 1, 1), and the state from zero."""
        _, final = ssd(value, ones, log_gamma, key, query, return_final_state=True)
        return torch.exp(value.shape[1] * log_gamma.to(final.dtype))[:, None, None], final

    def _project(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return turned queries and keys (B, L, H, P), values (B, L, H, P_value), and the gate (B, L, …)."""
        d_model, d_value = self.n_heads * self.head_dim, self.n_heads * self.value_dim
        query, key, value, gate = self.in_proj(x).split([d_model, d_model, d_value, d_value], dim=-1)
        query, key, value = (v.unflatten(-1, (self.n_heads, -1)) for v in (query, key, value))
        query, key = (rotate(v, positions, self.rotary_base) for v in (query, key * self.head_dim**-0.5))
        return query, key, value, gate

    def _finish(self, retained: Tensor, gate: Tensor) -> Tensor:
        """Normalise each head by itself (a group norm without weights), gate, and project out."""
        normed = F.layer_norm(retained, retained.shape[-1:], eps=1e-6).flatten(-2)
        y: Tensor = self.out_proj(F.silu(gate) * normed)
        return y

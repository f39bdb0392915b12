"""Causal softmax attention, the Transformer's mixer."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.models.base import Mixer, State, run_packed
from seqsuite.options import PositiveFloat, PositiveInt


class Attention(Mixer):
    """Multi-head causal self-attention by PyTorch's fused SDPA, with a key-value cache when generating.

    Args:
        d_model: Width D.
        n_heads: Heads H; D must be a multiple of H.
        positions: ``"rotary"`` turns queries and keys by their position (RoPE, arXiv 2104.09864); ``"none"``
            leaves the order to the causal mask and to the backbone's position embedding.
        rotary_base: Base of the rotary frequencies.
        bias: Whether the projections have biases.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: PositiveInt = 8,
        positions: Literal["rotary", "none"] = "rotary",
        rotary_base: PositiveFloat = 10_000.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if d_model % n_heads or (positions == "rotary" and d_model // n_heads % 2):
            raise ValueError(
                f"attention needs d_model divisible by n_heads into even parts, got {d_model} by {n_heads}"
            )
        self.d_model, self.n_heads, self.rotary = d_model, n_heads, positions == "rotary"
        self.rotary_base = rotary_base
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`.

        Raises:
            ValueError: if packed sequences come with a state: their caches would differ in length.
        """
        if cu_seqlens is not None:
            if state is not None:
                raise ValueError("attention carries no state for packed sequences: feed them one by one")
            return run_packed(self.forward, x, state, cu_seqlens)
        B, L, D = x.shape
        past = 0 if state is None else state["key"].shape[1]
        query, key, value = self.qkv(x).view(B, L, 3, self.n_heads, -1).unbind(2)
        if self.rotary:
            query, key = (rotate(v, past, self.rotary_base) for v in (query, key))
        if state is not None:
            key = torch.cat([state["key"].to(key.dtype), key], dim=1)
            value = torch.cat([state["value"].to(value.dtype), value], dim=1)
        mask = None
        if past:
            mask = torch.ones(L, past + L, dtype=torch.bool, device=x.device).tril(diagonal=past)
        y = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
        )
        y = self.out_proj(y.transpose(1, 2).reshape(B, L, D))
        return y, None if state is None else {"key": key, "value": value}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, after = self.forward(x_t.unsqueeze(1), state)
        assert after is not None
        return y.squeeze(1), after

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return an empty cache: ``key`` and ``value`` (B, 0, H, D / H)."""
        size = (batch_size, 0, self.n_heads, self.d_model // self.n_heads)
        empty = torch.zeros(size, device=device, dtype=dtype or self.qkv.weight.dtype)
        return {"key": empty, "value": empty}

    def state_size(self, seqlen: int) -> int:
        """Return 2 · L · D: the cache grows with the sequence."""
        return 2 * seqlen * self.d_model


def rotate(x: Tensor, offset: int, base: float) -> Tensor:
    """Turn pairs of channels of x (B, L, H, D / H) by angles that grow with position ``offset + l``."""
    half = x.shape[-1] // 2
    exponents = torch.arange(half, device=x.device, dtype=torch.float64) / half
    positions = torch.arange(offset, offset + x.shape[1], device=x.device, dtype=torch.float64)
    angles = torch.outer(positions, base**-exponents)
    cos, sin = angles.cos().to(x.dtype).unsqueeze(1), angles.sin().to(x.dtype).unsqueeze(1)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)

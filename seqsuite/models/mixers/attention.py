"""Causal softmax attention, the Transformer's mixer."""

from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn

from seqsuite.kernels.operators import in_transform
from seqsuite.kernels.packing import PaddedBatches
from seqsuite.kernels.symbols import certainly
from seqsuite.models.base import Inspected, Mixer, State, positions_of
from seqsuite.models.mixers.positions import alibi_slopes, rotate, xpos_scale
from seqsuite.models.split import split_peers
from seqsuite.options import PositiveFloat, PositiveInt


class Attention(Mixer):
    """Multi-head causal self-attention by PyTorch's fused SDPA, with a key-value cache when generating.

    Args:
        d_model: Width D.
        n_heads: Heads H; D must be a multiple of H.
        head_dim: Width of a head, for as many heads as fill D whatever ``n_heads`` says: the same heads at
            every width; ``None`` is D / H.
        n_kv_heads: Heads of keys and values, each shared by H / n_kv_heads query heads (grouped-query
            attention, arXiv 2305.13245); ``None`` is H.
        positions: ``"rotary"`` turns queries and keys by their position (RoPE), ``"xpos"`` also lets scores
            fade with distance, ``"alibi"`` subtracts the distance times a slope of each head; ``"none"``
            leaves the order to the causal mask and to the backbone's position embedding.
        window: How many positions each one sees, its own included; ``None`` is all before it. The cache then
            holds no more than that.
        rotary_base: Base of the rotary frequencies.
        bias: Whether the projections have biases.

    Raises:
        ValueError: if the heads do not fill the width, or divide each other.
    """

    packed_state = False
    splits = True

    def __init__(
        self,
        d_model: int,
        n_heads: PositiveInt = 8,
        head_dim: PositiveInt | None = None,
        n_kv_heads: PositiveInt | None = None,
        positions: Literal["rotary", "xpos", "alibi", "none"] = "rotary",
        window: PositiveInt | None = None,
        rotary_base: PositiveFloat = 10_000.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        turning = positions in ("rotary", "xpos")
        if head_dim is not None:
            if d_model % head_dim:
                raise ValueError(
                    f"attention needs d_model divisible by head_dim, got {d_model} by {head_dim}"
                )
            n_heads = d_model // head_dim
        if d_model % n_heads or (turning and d_model // n_heads % 2):
            raise ValueError(
                f"attention needs d_model divisible by n_heads into even parts, got {d_model} by {n_heads}"
            )
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads or n_heads
        if n_heads % self.n_kv_heads:
            raise ValueError(
                f"attention needs n_heads divisible by n_kv_heads, got {n_heads} by {n_kv_heads}"
            )
        self.positions, self.turning, self.window = positions, turning, window
        self.head_dim, self.rotary_base = d_model // n_heads, rotary_base
        self.qkv = nn.Linear(d_model, (n_heads + 2 * self.n_kv_heads) * self.head_dim, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`.

        Raises:
            ValueError: if packed sequences come with a state: their caches would differ in length.
        """
        query, key, value = self._project(x, state, cu_seqlens)
        if cu_seqlens is not None:
            self.check_packed_state(state)
            if has_packed_kernel(query, self.positions):
                return self.out_proj(self._attend_packed(query, key, value, cu_seqlens)), None
            batches = PaddedBatches.of(cu_seqlens, x.shape[1], x.device)
            parts = zip(*(batches.split(t) for t in (query, key, value)), strict=True)
            return self.out_proj(batches.join([self._attend(q, k, v) for q, k, v in parts])), None
        after = None
        if state is not None:
            key, value = self._with_earlier(key, value, state)
            after = self._remember(key, value, state, x.shape[1])
        return self.out_proj(self._attend(query, key, value)), after

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, after = self.forward(x_t.unsqueeze(1), state)
        assert after is not None
        return y.squeeze(1), after

    def flops(self, seqlen: int) -> int:
        """Return those of scores and of sums of values, over the positions that each query sees."""
        window = min(seqlen, self.window or seqlen)
        seen = window * (window + 1) // 2 + (seqlen - window) * window
        return 2 * seen * self.n_heads * self.head_dim

    def output_projection(self) -> nn.Linear:
        """See :meth:`Mixer.output_projection`."""
        return self.out_proj

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return the attention ``weights`` (B, H, L, L), a row for each query."""
        query, key, _ = self._project(x)
        key = key.repeat_interleave(self.n_heads // self.n_kv_heads, dim=2)
        scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) / self.head_dim**0.5
        mask = self._mask(query, key)
        if mask is None:
            mask = torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights = Inspected(scores.softmax(-1), ("batch", "head", "query", "key"), "share of the query")
        return {"weights": weights}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return an empty cache: ``key`` and ``value`` (B, 0, n_kv_heads, D / H).

        Where queries and keys are turned, ``position`` (B,) counts what was seen.
        """
        size = (batch_size, 0, self.n_kv_heads, self.head_dim)
        empty = torch.zeros(size, device=device, dtype=dtype or self.qkv.weight.dtype)
        state = {"key": empty, "value": empty}
        if self.turning:
            state["position"] = torch.zeros(batch_size, device=device, dtype=torch.int64)
        return state

    def state_size(self, seqlen: int) -> int:
        """Return the size of the cache, which grows with the sequence up to the window."""
        kept = seqlen if self.window is None else min(seqlen, self.window - 1)
        return 2 * kept * self.n_kv_heads * self.head_dim + self.turning

    def _project(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, L, H, P), keys and values (B, L, n_kv_heads, P), the first two turned."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        query, key, value = heads.split([self.n_heads, self.n_kv_heads, self.n_kv_heads], dim=2)
        if self.turning:
            positions = positions_of(x, None if state is None else state["position"], cu_seqlens)
            query, key = (rotate(v, positions, self.rotary_base) for v in (query, key))
            if self.positions == "xpos":
                query, key = xpos_scale(query, positions, 1), xpos_scale(key, positions, -1)
        return query, key, value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the heads' outputs side by side, (B, L, D)."""
        mask = self._mask(query, key)
        with sdpa_kernel(SDPBackend.MATH) if in_transform() else nullcontext():
            y = F.scaled_dot_product_attention(
                query.transpose(1, 2),
                key.transpose(1, 2),
                value.transpose(1, 2),
                attn_mask=mask,
                is_causal=mask is None and certainly(query.shape[1] == key.shape[1]),
                enable_gqa=self.n_kv_heads != self.n_heads,
            )
        return y.transpose(1, 2).flatten(2)

    def _with_earlier(self, key: Tensor, value: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Return keys and values behind those that were seen before."""
        keys, values = [state["key"].to(key.dtype)], [state["value"].to(value.dtype)]
        if (peers := split_peers()) is not None:
            last = None if self.window is None else self.window - 1
            past_key, past_value = peers.positions(torch.cat([key, value], dim=-1), last).chunk(2, dim=-1)
            keys, values = [*keys, past_key], [*values, past_value]
        return torch.cat([*keys, key], dim=1), torch.cat([*values, value], dim=1)

    def _remember(self, key: Tensor, value: Tensor, state: State, seen: int) -> State:
        """Return the cache after ``seen`` more positions, without what no later one will look at."""
        if self.window is not None:
            first = max(key.shape[1] - (self.window - 1), 0)
            key, value = key[:, first:], value[:, first:]
        after = {"key": key, "value": value}
        return after | {"position": state["position"] + seen} if self.turning else after

    def _attend_packed(self, query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Return the heads' outputs side by side, (1, L, D), by PyTorch's kernel for packed sequences."""
        group = self.n_heads // self.n_kv_heads
        key, value = (t.repeat_interleave(group, dim=2) if group > 1 else t for t in (key, value))
        longest = int(cu_seqlens.diff().max())  # without waiting, where the offsets are on the host
        offsets = cu_seqlens.to(query.device, torch.int32)
        before = -1 if self.window is None else self.window - 1
        y: Tensor = varlen_attn(  # type: ignore[assignment]  # a tuple only where it is asked for
            query[0], key[0], value[0], offsets, offsets, longest, longest, window_size=(before, 0)
        )
        return y.flatten(1).unsqueeze(0)

    def _mask(self, query: Tensor, key: Tensor) -> Tensor | None:
        """Return which keys (L, T) each query sees, or ALiBi's biases (H, L, T).

        ``None`` stands for the plain cases: one query that sees every key, and a whole causal sequence.
        """
        length, total = query.shape[1], key.shape[1]
        short = self.window is None or certainly(total <= self.window)
        if self.positions != "alibi" and short and (certainly(length == 1) or certainly(length == total)):
            return None
        ends = torch.arange(total - length, total, device=query.device)
        distance = ends.unsqueeze(1) - torch.arange(total, device=query.device)
        seen = distance >= 0
        if self.window is not None:
            seen &= distance < self.window
        if self.positions != "alibi":
            return seen
        slopes = torch.tensor(alibi_slopes(self.n_heads), device=query.device, dtype=query.dtype)
        return (-slopes[:, None, None] * distance).masked_fill(~seen, -torch.inf)


def has_packed_kernel(query: Tensor, positions: str) -> bool:
    """Return whether PyTorch's kernel for packed sequences takes queries (1, L, H, P): 16 bits, on a GPU.

    It has no tangents, and no rules for ``torch.func``.
    """
    sixteen_bits = query.dtype in (torch.float16, torch.bfloat16)
    fits = query.is_cuda and sixteen_bits and query.shape[-1] % 8 == 0
    return fits and positions != "alibi" and not in_transform()

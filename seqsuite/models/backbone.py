"""The backbone: token embedding, a stack of blocks, and a head that predicts the next token."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.models.base import Block, MakeNorm, State
from seqsuite.models.norms import RMSNorm

NORMS: dict[str, MakeNorm] = {
    "rms": RMSNorm,
    "layer": nn.LayerNorm,
}


@dataclass(frozen=True)
class BackboneState:
    """What a model must remember: how many tokens it has seen, and each block's state."""

    position: int
    blocks: tuple[State, ...]


class LanguageModel(nn.Module):
    """Token ids (B, L) to logits (B, L, V).

    Args:
        vocab_size: Vocabulary V.
        d_model: Width D.
        n_layer: Number of blocks.
        make_block: Makes one block.
        norm: ``"rms"`` or ``"layer"``: the norm before the head, the blocks' own come with ``make_block``.
        positions: ``"learned"`` adds a learned embedding of absolute positions, ``"none"`` adds nothing.
        max_seqlen: Number of learned positions; inputs cannot be longer.
        tie_embeddings: Whether the head shares the embedding's weights.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_layer: int,
        make_block: Callable[[], Block],
        *,
        norm: Literal["rms", "layer"] = "rms",
        positions: Literal["learned", "none"] = "none",
        max_seqlen: int,
        tie_embeddings: bool = True,
    ) -> None:
        super().__init__()
        self.vocab_size, self.max_seqlen = vocab_size, max_seqlen
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.position_embedding = nn.Embedding(max_seqlen, d_model) if positions == "learned" else None
        self.blocks = nn.ModuleList(make_block() for _ in range(n_layer))
        self.norm = NORMS[norm](d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        self._initialise()
        if tie_embeddings:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """Return logits (B, L, V) for token ids (B, L); ``cu_seqlens`` (S + 1,) packs S sequences, B = 1."""
        x = self._embed(tokens, 0, cu_seqlens)
        for block in self._stack():
            x, _ = block(x, None, cu_seqlens)
        return self._logits(x)

    def prefill(self, tokens: Tensor, state: BackboneState) -> tuple[Tensor, BackboneState]:
        """Process a chunk of tokens (B, L) from ``state``; return logits (B, L, V) and the state after it."""
        x = self._embed(tokens, state.position)
        after: list[State] = []
        for block, before in zip(self._stack(), state.blocks, strict=True):
            x, next_state = block(x, before)
            after.append(next_state)
        return self._logits(x), BackboneState(state.position + tokens.shape[1], tuple(after))

    def step(self, token: Tensor, state: BackboneState) -> tuple[Tensor, BackboneState]:
        """Process one token a sequence (B,); return logits (B, V) and the next state."""
        x = self._embed(token.unsqueeze(1), state.position).squeeze(1)
        after: list[State] = []
        for block, before in zip(self._stack(), state.blocks, strict=True):
            x, next_state = block.step(x, before)
            after.append(next_state)
        return self._logits(x), BackboneState(state.position + 1, tuple(after))

    def initial_state(self, batch_size: int) -> BackboneState:
        """Return the state before the first token, on the model's device and in its dtype."""
        weight = self.embedding.weight
        blocks = tuple(
            block.initial_state(batch_size, device=weight.device, dtype=weight.dtype)
            for block in self._stack()
        )
        return BackboneState(0, blocks)

    def num_parameters(self) -> int:
        """Return how many numbers are learned; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def longest_input(self) -> int | None:
        """Return how many tokens the model can take, or ``None`` if there is no limit."""
        return None if self.position_embedding is None else self.max_seqlen

    def _stack(self) -> list[Block]:
        """Return the blocks with their type, which ModuleList forgets."""
        return cast("list[Block]", list(self.blocks))

    def _embed(self, tokens: Tensor, start: int, cu_seqlens: Tensor | None = None) -> Tensor:
        x: Tensor = self.embedding(tokens)
        if self.position_embedding is None:
            return x
        end = start + tokens.shape[1]
        if end > self.max_seqlen:
            raise UserError(
                f"This model has learned positions for {self.max_seqlen} tokens and was given {end}: "
                "use shorter sequences, or a model without learned positions."
            )
        positions = torch.arange(start, end, device=tokens.device)
        if cu_seqlens is not None:
            positions = positions - cu_seqlens[torch.searchsorted(cu_seqlens, positions, right=True) - 1]
        embedded: Tensor = self.position_embedding(positions)
        return x + embedded

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
        return logits

    def _initialise(self) -> None:
        """Normal embeddings of deviation 0.02; residual outputs divided by √(number of residual branches)."""
        for embedding in (self.embedding, self.position_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=0.02)
        branches = sum(block.residual_branches for block in self._stack())
        for block in self._stack():
            for linear in block.residual_outputs():
                nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
                with torch.no_grad():
                    linear.weight /= math.sqrt(branches)

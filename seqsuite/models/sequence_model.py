"""Whole models: token embedding, a backbone of blocks, and a head that predicts tokens or classes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, overload

import torch
from torch import Tensor, nn

from seqsuite.errors import UserError
from seqsuite.models.backbones.base import Backbone, States
from seqsuite.models.base import State, longest_sequence, packed_positions
from seqsuite.models.config import ModelConfig
from seqsuite.models.norms import RMSNorm

NORMS: dict[str, Callable[..., nn.Module]] = {"rms": RMSNorm, "layer": nn.LayerNorm}
"""Each is called with a width and, if it is to be another, the epsilon."""


@dataclass(frozen=True)
class BackboneState:
    """What a model must remember: how many tokens it has seen, and the states of its backbone.

    Attributes:
        position: Number of tokens; of sequences with different numbers, the largest.
        blocks: The states.
    """

    position: int
    blocks: States

    def detach(self) -> "BackboneState":
        """Return the same state without its history: gradients stop here (truncated backpropagation)."""
        blocks = tuple({key: value.detach() for key, value in state.items()} for state in self.blocks)
        return BackboneState(self.position, blocks)


class Initialisation(nn.Module):
    """What parts start at because of their place in a model: the model's last module, without parameters.

    Calling ``reset_parameters`` on each of ``model.modules()``, as FSDP2 asks for after a start on the device
    ``"meta"``, comes to it last and so makes what the constructor makes.

    Args:
        embedding: The inputs': of tokens, or a linear map of numbers, which is left as it is.
        position_embedding: The positions', if they are learned.
        blocks: The backbone.
    """

    def __init__(
        self,
        embedding: nn.Embedding | nn.Linear,
        position_embedding: nn.Embedding | None,
        blocks: Backbone,
    ) -> None:
        super().__init__()
        self._parts = (embedding, position_embedding, blocks)  # in a tuple they are no children of this one
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal embeddings of deviation 0.02; residual outputs divided by √(number of residual branches)."""
        *embeddings, blocks = self._parts
        for embedding in embeddings:
            if isinstance(embedding, nn.Embedding):
                nn.init.normal_(embedding.weight, std=0.02)
        layers = blocks.layers()
        branches = sum(block.residual_branches for block in layers)
        for block in layers:
            for linear in block.residual_outputs():
                nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
                with torch.no_grad():
                    linear.weight /= math.sqrt(branches)


class SequenceModel(nn.Module):
    """Token ids (B, L) to one output a position (B, L, …): what models for all heads share.

    Args:
        vocab_size: Vocabulary V of the input, or ``None`` if it is numbers.
        d_model: Width D.
        blocks: The backbone.
        n_outputs: Width of the head.
        norm: ``"rms"`` or ``"layer"``: the norm before the head; the blocks have their own.
        norm_eps: That norm's epsilon.
        positions: ``"learned"`` adds a learned embedding of absolute positions, ``"none"`` adds nothing.
        max_seqlen: Number of learned positions; inputs cannot be longer.
        d_input: Numbers a position, where the input is numbers.

    Attributes:
        config: What :mod:`~seqsuite.models.build` built the model from; ``None`` if something else made it.
        rest: What the ``config.json`` of another project says besides the layers, such as special tokens: it
            changes no number and is written again with the model.
    """

    config: ModelConfig | None = None

    def __init__(
        self,
        vocab_size: int | None,
        d_model: int,
        blocks: Backbone,
        n_outputs: int,
        *,
        norm: Literal["rms", "layer"] = "rms",
        norm_eps: float = 1e-5,
        positions: Literal["learned", "none"] = "none",
        max_seqlen: int,
        d_input: int | None = None,
    ) -> None:
        super().__init__()
        self.max_seqlen = max_seqlen
        self.rest: dict[str, Any] = {}
        self.embedding: nn.Embedding | nn.Linear
        if vocab_size is not None:
            self.embedding = nn.Embedding(vocab_size, d_model)
        elif d_input is not None:
            self.embedding = nn.Linear(d_input, d_model)
        else:
            raise ValueError("a model takes tokens of a vocabulary or numbers, and is told how many")
        self.position_embedding = nn.Embedding(max_seqlen, d_model) if positions == "learned" else None
        self.blocks = blocks
        self.norm = NORMS[norm](d_model, norm_eps)
        self.head = nn.Linear(d_model, n_outputs, bias=False)
        self.initialisation = Initialisation(self.embedding, self.position_embedding, blocks)

    def prefill(
        self, tokens: Tensor, state: BackboneState, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, BackboneState]:
        """Process a chunk of tokens (B, L) from ``state``; return logits (B, L, …) and the state after it.

        Both are differentiable, and so is what comes after them: to train on a sequence chunk by chunk, give
        each chunk the state after the last one, :meth:`~BackboneState.detach`-ed so that memory stays that of
        one chunk.

        Args:
            tokens: Token ids.
            state: The state before the first of them.
            cu_seqlens: Offsets (S + 1,) of S chunks packed along L, with B = 1; the state is of S sequences.

        Raises:
            ValueError: if chunks are packed and the model has no state for that: see :attr:`packed_state`.
        """
        if cu_seqlens is not None and self.position_embedding is not None:
            raise ValueError("a model with learned positions carries no state for packed sequences")
        x, after = self.blocks(self._embed(tokens, state.position), state.blocks, cu_seqlens)
        seen = tokens.shape[1] if cu_seqlens is None else int(cu_seqlens.diff().max())
        return self._logits(x), BackboneState(state.position + seen, after)

    def step(self, token: Tensor, state: BackboneState) -> tuple[Tensor, BackboneState]:
        """Process one token a sequence (B,); return logits (B, …) and the next state."""
        x_t = self._embed(token.unsqueeze(1), state.position).squeeze(1)
        x_t, after = self.blocks.step(x_t, state.blocks)
        return self._logits(x_t), BackboneState(state.position + 1, after)

    def initial_state(self, batch_size: int) -> BackboneState:
        """Return the state before the first token, on the model's device and in its dtype."""
        weight = self.embedding.weight
        return BackboneState(
            0, self.blocks.initial_state(batch_size, device=weight.device, dtype=weight.dtype)
        )

    def join_states(self, states: Sequence[BackboneState]) -> BackboneState | None:
        """Return one state for the sequences of all ``states``, or ``None`` if they cannot step together.

        Recurrent states can be put side by side however many tokens each has seen. Learned positions differ
        between sequences of different lengths, and so do the shapes of their caches.
        """
        position = max(state.position for state in states)
        if self.position_embedding is not None and any(state.position != position for state in states):
            return None
        blocks: list[State] = []
        for parts in zip(*(state.blocks for state in states), strict=True):
            if any(len({part[key].shape[1:] for part in parts}) > 1 for key in parts[0]):
                return None
            blocks.append({key: torch.cat([part[key] for part in parts]) for key in parts[0]})
        return BackboneState(position, tuple(blocks))

    def num_parameters(self) -> int:
        """Return how many numbers are learned; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def packed_state(self) -> bool:
        """Whether packed sequences can start from a state and return one.

        A state that grows cannot be packed, nor one that depends on where in a frame a sequence stands.
        """
        return self.position_embedding is None and self.blocks.packed_state

    @property
    def longest_input(self) -> int | None:
        """Return how many tokens the model can take, or ``None`` if there is no limit."""
        return None if self.position_embedding is None else self.max_seqlen

    def _outputs(self, tokens: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """Return the backbone's outputs (B, L, D) for whole sequences, or packed ones."""
        x, _ = self.blocks(self._embed(tokens, 0, cu_seqlens), None, cu_seqlens)
        y: Tensor = x
        return y

    def _embed(self, tokens: Tensor, start: int, cu_seqlens: Tensor | None = None) -> Tensor:
        x: Tensor = self.embedding(tokens)
        if self.position_embedding is None:
            return x
        end = start + longest_sequence(tokens, cu_seqlens)
        if end > self.max_seqlen:
            raise UserError(
                f"This model has learned positions for {self.max_seqlen} tokens and was given {end}: "
                "use shorter sequences, or a model without learned positions."
            )
        if cu_seqlens is not None:
            _, positions = packed_positions(cu_seqlens, tokens.shape[1], tokens.device)
        else:
            positions = torch.arange(start, end, device=tokens.device)
        embedded: Tensor = self.position_embedding(positions)
        return x + embedded

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x))
        return logits


class LanguageModel(SequenceModel):
    """Token ids (B, L) to logits (B, L, V) of the token at each position.

    Args:
        vocab_size: Vocabulary V.
        d_model: Width D.
        blocks: The backbone.
        tie_embeddings: Whether the head shares the embedding's weights.
        norm, norm_eps, positions, max_seqlen: See :class:`SequenceModel`.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        blocks: Backbone,
        *,
        norm: Literal["rms", "layer"] = "rms",
        norm_eps: float = 1e-5,
        positions: Literal["learned", "none"] = "none",
        max_seqlen: int,
        tie_embeddings: bool = True,
    ) -> None:
        super().__init__(
            vocab_size,
            d_model,
            blocks,
            vocab_size,
            norm=norm,
            norm_eps=norm_eps,
            positions=positions,
            max_seqlen=max_seqlen,
        )
        self.vocab_size = vocab_size
        if tie_embeddings:
            self.head.weight = self.embedding.weight

    @property
    def tied(self) -> bool:
        """Whether the head shares the embedding's weights."""
        return self.head.weight is self.embedding.weight

    @overload
    def forward(self, tokens: Tensor, cu_seqlens: Tensor | None = None, state: None = None) -> Tensor: ...

    @overload
    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor | None = None, *, state: BackboneState
    ) -> tuple[Tensor, BackboneState]: ...

    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor | None = None, state: BackboneState | None = None
    ) -> Tensor | tuple[Tensor, BackboneState]:
        """Predict the token after each one.

        Args:
            tokens: Token ids (B, L).
            cu_seqlens: Offsets (S + 1,) of S sequences packed along L, with B = 1.
            state: What the sequences go on from: see :meth:`prefill`. Without one they start afresh.

        Returns:
            Logits (B, L, V), or these and the state after the last token if ``state`` was given.
        """
        if state is not None:
            return self.prefill(tokens, state, cu_seqlens)
        return self._logits(self._outputs(tokens, cu_seqlens))

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> Self:
        """Keep weights shared in ``to_empty`` and the like, which give each module new ones."""
        tied = self.tied
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in PyTorch
        if tied:
            self.head.weight = self.embedding.weight
        return self


class SequenceTagger(SequenceModel):
    """Token ids (B, L) or numbers (B, L, C) to K outputs a position: logits of labels, or values."""

    def forward(self, inputs: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """Return outputs (B, L, K); ``cu_seqlens`` (S + 1,) packs S sequences, B = 1."""
        return self._logits(self._outputs(inputs, cu_seqlens))


class SequenceClassifier(SequenceModel):
    """Token ids (B, L) to logits (B, n_classes) of the class of each sequence, read off its last token.

    Its prefill and step forms give the logits at every position: those of the sequence so far.
    """

    def forward(
        self, tokens: Tensor, cu_seqlens: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Classify sequences.

        Args:
            tokens: Token ids (B, L).
            cu_seqlens: Offsets (S + 1,) of S sequences packed along L, with B = 1.
            lengths: Number of tokens (B,) of each sequence, where they are padded on the right.

        Returns:
            Logits (B, n_classes), or (S, n_classes) for packed sequences.

        Raises:
            ValueError: if sequences are both packed and padded.
        """
        if cu_seqlens is not None and lengths is not None:
            raise ValueError("sequences are packed (cu_seqlens) or padded (lengths), not both")
        y = self._outputs(tokens, cu_seqlens)
        if cu_seqlens is not None:
            return self._logits(y[0, cu_seqlens[1:] - 1])
        if lengths is not None:
            return self._logits(y[torch.arange(len(y), device=y.device), lengths - 1])
        return self._logits(y[:, -1])

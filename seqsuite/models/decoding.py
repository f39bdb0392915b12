"""One token at a time through a language model, by the fastest way that it offers."""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from seqsuite.graphs import GraphedCall, Recorder, recorder_for
from seqsuite.kernels.mamba_decoder import mamba_decoder
from seqsuite.kernels.mamba_decoder.weights import BlockState, ModelWeights
from seqsuite.models.backbones.isotropic import Isotropic
from seqsuite.models.base import is_plain_linear, norm_weights
from seqsuite.models.sequence_model import BackboneState, LanguageModel

if TYPE_CHECKING:
    from seqsuite.kernels.mamba_decoder.cpu import MambaDecoder


class Decoder(Protocol):
    """A model at work on some sequences. It owns the state that it was given a copy of."""

    def step(self, token: Tensor) -> Tensor:
        """Process one token a sequence (B,); return logits (B, V)."""

    def state(self) -> BackboneState:
        """Return the state after the tokens so far, for the model or another decoder to go on from."""


@torch.no_grad()
def make_decoder(model: LanguageModel, state: BackboneState) -> Decoder:
    """Return a decoder that goes on from ``state``, which stays as it is.

    Weights that change afterwards need a new one.
    """
    weights = _decoder_weights(model)
    if weights is not None:
        states = [BlockState(block["conv"], block["ssm"]) for block in state.blocks]
        decoder = mamba_decoder(weights, states)
        if decoder is not None:
            return FusedDecoder(decoder, state.position)
    recorder = recorder_for(model.embedding.weight.device)
    if recorder is not None and _has_constant_state(model, state):
        return GraphDecoder(model, state, recorder)
    return StepDecoder(model, state)


def _has_constant_state(model: LanguageModel, state: BackboneState) -> bool:
    """Return whether a step changes the numbers of the state and nothing else, as a graph asks for."""
    if model.position_embedding is not None or not state.blocks:
        return False
    example = next(value for block in state.blocks for value in block.values())
    token = torch.zeros(len(example), dtype=torch.int64, device=example.device)
    _, after = model.step(token, state)
    return all(
        before.keys() == block.keys() and all(before[key].shape == block[key].shape for key in before)
        for before, block in zip(state.blocks, after.blocks, strict=True)
    )


class GraphDecoder:
    """By the model's own steps, recorded as one graph a token.

    Args:
        model: A model whose state has a constant shape.
        state: Where it goes on from; it stays as it is.
        recorder: What records the graph.
    """

    def __init__(self, model: LanguageModel, state: BackboneState, recorder: Recorder) -> None:
        self._model, self._position = model, state.position
        self._blocks = tuple({key: value.clone() for key, value in block.items()} for block in state.blocks)
        self._call = GraphedCall(self._advance, recorder)

    def step(self, token: Tensor) -> Tensor:
        """See :meth:`Decoder.step`."""
        (logits,) = self._call(token)
        self._position += 1
        return logits.clone()  # a graph writes to the same memory again

    def state(self) -> BackboneState:
        """See :meth:`Decoder.state`."""
        copies = tuple({key: value.clone() for key, value in block.items()} for block in self._blocks)
        return BackboneState(self._position, copies)

    def _advance(self, token: Tensor) -> tuple[Tensor]:
        logits, after = self._model.step(token, BackboneState(self._position, self._blocks))
        for kept, new in zip(self._blocks, after.blocks, strict=True):
            for key, value in kept.items():
                value.copy_(new[key])
        return (logits,)


class StepDecoder:
    """By the model's own steps."""

    def __init__(self, model: LanguageModel, state: BackboneState) -> None:
        self._model, self._state = model, state

    def step(self, token: Tensor) -> Tensor:
        """See :meth:`Decoder.step`."""
        logits, self._state = self._model.step(token, self._state)
        return logits

    def state(self) -> BackboneState:
        """See :meth:`Decoder.state`."""
        return self._state


class FusedDecoder:
    """By the kernel for stacks of Mamba or of Mamba-2 blocks."""

    def __init__(self, decoder: "MambaDecoder", position: int) -> None:
        self._decoder, self._position = decoder, position

    def step(self, token: Tensor) -> Tensor:
        """See :meth:`Decoder.step`."""
        self._position += 1
        return self._decoder.step(token)

    def state(self) -> BackboneState:
        """See :meth:`Decoder.state`."""
        blocks = tuple(state._asdict() for state in self._decoder.states())
        return BackboneState(self._position, blocks)


def _decoder_weights(model: LanguageModel) -> ModelWeights | None:
    """Return the model's parameters if it is a stack of blocks that have a kernel and no more."""
    norm = norm_weights(model.norm)
    if not isinstance(model.blocks, Isotropic):
        return None
    blocks = [block.decoder_weights() for block in model.blocks.layers()]
    given = [block for block in blocks if block is not None]
    if norm is None or len(given) < len(blocks) or model.position_embedding is not None:
        return None
    if not is_plain_linear(model.head):
        return None
    return ModelWeights(model.embedding.weight, given, norm, model.head.weight)

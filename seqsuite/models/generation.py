"""Generation token by token, from an explicit state that can be saved and gone on from."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.models.decoding import Decoder, make_decoder
from seqsuite.models.generation_state import SavedGeneration, SavedGroup, read_state, write_state
from seqsuite.models.sampling import AS_IT_IS, Sampling, draw
from seqsuite.models.sequence_model import BackboneState, LanguageModel

PREFILL = 2048
"""Tokens of a prompt that are processed at once, so that memory does not grow with the prompt."""


class _Group:
    """Sequences that are computed together: prompts by the model, token after token by a decoder.

    Args:
        model: The model.
        rows: Their places (b,) in the batch.
        state: The model's state after what it was fed.
        pending: Tokens (b, l), l ≥ 1, that come next and are not fed yet.
    """

    def __init__(self, model: LanguageModel, rows: Tensor, state: BackboneState, pending: Tensor) -> None:
        self.rows, self.pending = rows, pending
        self._model, self._state = model, state
        self._decoder: Decoder | None = None

    @property
    def state(self) -> BackboneState:
        """Return the model's state after what it was fed."""
        return self._state if self._decoder is None else self._decoder.state()

    def feed(self) -> Tensor:
        """Feed what is pending; return the logits (b, V) of what comes after."""
        if self.pending.shape[1] == 1:
            if self._decoder is None:
                self._decoder = make_decoder(self._model, self._state)
            return self._decoder.step(self.pending.squeeze(1))
        self._state, self._decoder = self.state, None
        for chunk in torch.split(self.pending, PREFILL, dim=1):
            logits, self._state = self._model.prefill(chunk, self._state)
        return logits[:, -1]


class Generation:
    """Sequences that a model goes on with: an iterator without end, which yields tokens (B,).

    Memory is that of the model's state: constant in length for recurrent mixers, growing for attention. The
    numbers of one sequence depend on neither the others nor the batch: prompts of the same length are
    processed together, and after the prompts all sequences are, if the model's state allows it.

    Args:
        model: The model, in evaluation mode.
        prompts: Token ids, one sequence (L,) each of any length L ≥ 1, or (B, L).
        sampling: How tokens are drawn.
        seed: Sequence b draws from a generator with seed ``seed + b``.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[Tensor] | Tensor,
        sampling: Sampling = AS_IT_IS,
        *,
        seed: int = 0,
    ) -> None:
        lengths = [prompt.shape[-1] for prompt in prompts]
        if not lengths or min(lengths) == 0:
            raise ValueError(f"generation needs prompts of at least one token, got lengths {lengths}")
        self.model, self.sampling = model, sampling
        self._device = model.embedding.weight.device
        self._generators = [torch.Generator().manual_seed(seed + row) for row in range(len(lengths))]
        self._groups: list[_Group] = []
        for length in sorted(set(lengths)):
            rows = [row for row, other in enumerate(lengths) if other == length]
            pending = torch.stack([prompts[row] for row in rows]).to(self._device)
            state = model.initial_state(len(rows))
            self._groups.append(_Group(model, torch.tensor(rows, device=self._device), state, pending))
        self._seen = self._tokens_of(prompts) if sampling.repetition_penalty != 1 else None

    @property
    def batch_size(self) -> int:
        """Return the number of sequences B."""
        return len(self._generators)

    @property
    def longest(self) -> int:
        """Return how many tokens the longest sequence has: its prompt and what was generated."""
        return max(group.state.position + group.pending.shape[1] for group in self._groups)

    @property
    def state_bytes(self) -> int:
        """Return the size of what the model remembers of all sequences."""
        values = [value for g in self._groups for state in g.state.blocks for value in state.values()]
        return sum(value.numel() * value.element_size() for value in values)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    @torch.inference_mode()
    def __next__(self) -> Tensor:
        """Return the next token of each sequence, (B,)."""
        size = (self.batch_size, self.model.vocab_size)
        logits = torch.empty(size, device=self._device, dtype=torch.float64)
        for group in self._groups:
            logits[group.rows] = group.feed().double()
        tokens = draw(self.sampling.probabilities(logits, self._seen), self._generators)
        for group in self._groups:
            group.pending = tokens[group.rows].unsqueeze(1)
        self._join_groups()
        if self._seen is not None:
            self._seen.scatter_(1, tokens.unsqueeze(1), True)
        return tokens

    def save(self, path: Path, *, model_id: str = "") -> None:
        """Write all that the next tokens follow from, besides the model's weights, to a safetensors file.

        Args:
            path: The file.
            model_id: Identity of the model, which :meth:`load` asks for again.

        Raises:
            UserError: if it cannot be written.
        """
        saved = SavedGeneration(
            sampling=self.sampling,
            generators=[generator.get_state() for generator in self._generators],
            seen=self._seen,
            groups=[SavedGroup(group.rows, group.pending, group.state) for group in self._groups],
        )
        write_state(path, saved, model_id)

    @classmethod
    def load(cls, path: Path, model: LanguageModel, *, model_id: str = "") -> Self:
        """Return the generation that was saved to ``path``: it goes on with the same tokens as that one.

        Raises:
            UserError: if the file is not there, damaged, or of another model.
        """
        saved = read_state(path, model, model_id)
        made = cls.__new__(cls)
        made.model, made.sampling = model, saved.sampling
        made._device = model.embedding.weight.device
        made._generators = [torch.Generator() for _ in saved.generators]
        for generator, state in zip(made._generators, saved.generators, strict=True):
            generator.set_state(state)
        made._seen = saved.seen
        made._groups = [_Group(model, group.rows, group.state, group.pending) for group in saved.groups]
        return made

    def _join_groups(self) -> None:
        """Make one group of all, if the model can step their sequences together."""
        if len(self._groups) == 1:
            return
        state = self.model.join_states([group.state for group in self._groups])
        if state is not None:
            rows = torch.cat([group.rows for group in self._groups])
            pending = torch.cat([group.pending for group in self._groups])
            self._groups = [_Group(self.model, rows, state, pending)]

    def _tokens_of(self, prompts: Sequence[Tensor] | Tensor) -> Tensor:
        """Return which tokens each prompt has, (B, V) bool."""
        seen = torch.zeros(len(prompts), self.model.vocab_size, dtype=torch.bool, device=self._device)
        for row, prompt in enumerate(prompts):
            seen[row, prompt.to(self._device)] = True
        return seen


def check_weights(model: LanguageModel) -> None:
    """Refuse a model that can only generate noise, such as the end of a training that diverged.

    Raises:
        UserError: if one of its weights is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(
                f"The model cannot generate: its weight {name} holds NaN or infinity. Its training diverged, "
                "or its file is damaged."
            )


def generate(
    model: LanguageModel,
    prompts: Sequence[Tensor] | Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Yield ``length`` tokens (B,), one at a time, after prompts of any lengths: see :class:`Generation`.

    Raises:
        UserError: if the model's weights are not finite.
    """
    check_weights(model)
    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
    )
    return islice(Generation(model, prompts, sampling, seed=seed), length)

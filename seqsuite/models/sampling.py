"""Choosing the next token from a model's logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; each choice narrows what the ones before it have left.

    Attributes:
        repetition_penalty: Divides the positive logits, and multiplies the negative ones, of the tokens that
            the sequence has (`CTRL <https://arxiv.org/abs/1909.05858>`_, section 4.1); 1 does nothing.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Only the k most likely tokens are drawn; ``None`` is all.
        top_p: Only the most likely tokens are drawn, as many as it takes to have this probability together
            (nucleus sampling, `arXiv 1904.09751 <https://arxiv.org/abs/1904.09751>`_); 1 is all.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.repetition_penalty <= 0:
            raise ValueError(f"temperature must be at least 0 and repetition_penalty above 0, got {self}")
        if not 0 < self.top_p <= 1 or (self.top_k is not None and self.top_k < 1):
            raise ValueError(f"top_p must be in (0, 1] and top_k at least 1, got {self}")

    def probabilities(self, logits: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return the probabilities (B, V), float64, that tokens are drawn with.

        Args:
            logits: The model's logits (B, V).
            seen: Which tokens each sequence has, (B, V) bool; only the repetition penalty looks at it.
        """
        scores = logits.double()
        if seen is not None and self.repetition_penalty != 1:
            penalty = self.repetition_penalty
            scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
        if self.temperature == 0:
            return torch.nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).double()
        scores = scores / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        probabilities = torch.softmax(scores, dim=-1)
        if self.top_p < 1:
            ranked, order = probabilities.sort(dim=-1, descending=True)
            before = ranked.cumsum(-1) - ranked
            kept = torch.zeros_like(probabilities).scatter(-1, order, ranked * (before < self.top_p))
            probabilities = kept / kept.sum(-1, keepdim=True)
        return probabilities


AS_IT_IS = Sampling()
"""Draws from the model's own distribution."""


def draw(probabilities: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw one token a sequence, (B,), by where a uniform number falls in the cumulated probabilities (B, V).

    Each sequence has a generator of its own, on the CPU, so that neither its neighbours in the batch nor the
    device change what is drawn.
    """
    uniform = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators])
    cumulated = probabilities.cumsum(-1)
    targets = uniform.to(probabilities.device).unsqueeze(1) * cumulated[:, -1:]
    tokens = torch.searchsorted(cumulated, targets, right=True).squeeze(1)
    return tokens.clamp(max=probabilities.shape[-1] - 1)

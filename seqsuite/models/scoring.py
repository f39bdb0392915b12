"""How likely a model finds given tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqsuite.models.sequence_model import LanguageModel

CHUNK = 2048
"""Tokens of each sequence that are processed at once, so that logits do not grow with the length."""


class Score(NamedTuple):
    """Of each token but the first of a sequence (L,), given those before it.

    Attributes:
        log_likelihood: Its natural logarithm of probability (L − 1,), float64.
        greedy: Whether it is the most likely one (L − 1,), bool.
    """

    log_likelihood: Tensor
    greedy: Tensor


@torch.inference_mode()
def score(model: LanguageModel, sequences: Sequence[Tensor]) -> list[Score]:
    """Score token ids (L,), of any lengths L ≥ 2, in one batch on the model's device.

    They are padded on the right, which a causal model does not see.
    """
    device = model.embedding.weight.device
    tokens = pad_sequence(list(sequences), batch_first=True).to(device)
    state = model.initial_state(len(sequences))
    likelihoods, greedy = [], []
    inputs, all_targets = tokens[:, :-1], tokens[:, 1:]
    for chunk, targets in zip(torch.split(inputs, CHUNK, 1), torch.split(all_targets, CHUNK, 1), strict=True):
        logits, state = model.prefill(chunk, state)
        scores = logits.double().log_softmax(-1)
        likelihoods.append(scores.gather(-1, targets.unsqueeze(-1)).squeeze(-1).cpu())
        greedy.append((logits.argmax(-1) == targets).cpu())
    all_likelihoods, all_greedy = torch.cat(likelihoods, dim=1), torch.cat(greedy, dim=1)
    lengths = [len(sequence) - 1 for sequence in sequences]
    return [Score(all_likelihoods[row, :n], all_greedy[row, :n]) for row, n in enumerate(lengths)]

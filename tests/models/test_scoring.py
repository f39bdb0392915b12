"""Scores of batches, in chunks, are those of one forward pass over each sequence."""

import pytest
import torch

from seqsuite.models import MODELS, scoring
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.scoring import score


@pytest.mark.parametrize("name", ["mamba", "s4", "transformer", "transformer++"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_a_score_is_the_log_probability_after_all_before(
    monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16})
    model = build_model(config, vocab_size=7, seqlen=20).double().eval()
    sequences = [torch.randint(7, (length,)) for length in (2, 20, 9)]
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    for sequence, found in zip(sequences, score(model, sequences), strict=True):
        logits = model(sequence[None, :-1])[0]
        expected = torch.stack([logits[t].log_softmax(-1)[token] for t, token in enumerate(sequence[1:])])
        torch.testing.assert_close(found.log_likelihood, expected)
        assert torch.equal(found.greedy, logits.argmax(-1) == sequence[1:])

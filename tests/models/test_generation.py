"""Generated sequences: what is drawn, batches of prompts, memory, and going on from a saved state."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from seqsuite.errors import UserError
from seqsuite.models import MODELS, generation
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import make_decoder
from seqsuite.models.generation import PREFILL, Generation, generate
from seqsuite.models.sampling import Sampling, draw
from seqsuite.models.sequence_model import LanguageModel

VOCAB = 11


def make_model(name: str, seqlen: int = 60, **settings: object) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2, **settings})
    model = build_model(config, vocab_size=VOCAB, seqlen=seqlen).double().eval()
    with torch.no_grad():
        model.embedding.weight.mul_(50)  # far from uniform, so that greedy choices are no near-ties
    return model


def some_tokens(*size: int) -> torch.Tensor:
    return torch.randint(VOCAB, size, generator=torch.Generator().manual_seed(size[-1]))


def taken(generation: Generation, length: int) -> torch.Tensor:
    """Return the next ``length`` tokens of each sequence, (B, length)."""
    return torch.stack(list(islice(generation, length)), dim=1)


every_model = pytest.mark.parametrize("name", MODELS.names())


@every_model
def test_greedy_generation_takes_the_most_likely_token_each_time(name: str) -> None:
    model, prompt = make_model(name), some_tokens(2, 5)
    tokens = prompt
    for _ in range(8):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], dim=1)
    generated = torch.stack(list(generate(model, prompt, 8, temperature=0)), dim=1)
    assert torch.equal(generated, tokens[:, 5:])


@every_model
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_prompts_of_different_lengths_go_on_as_each_does_alone(name: str, temperature: float) -> None:
    model = make_model(name)
    prompts = [some_tokens(length) for length in (7, 2, 12, 7, 1)]
    sampling = Sampling(temperature=20 * temperature, repetition_penalty=1.2)
    together = taken(Generation(model, prompts, sampling, seed=5), 20)
    for row, prompt in enumerate(prompts):
        alone = taken(Generation(model, [prompt], sampling, seed=5 + row), 20)
        assert torch.equal(together[row : row + 1], alone)


@pytest.mark.parametrize("name", ["mamba", "mamba2", "s4"])
def test_recurrent_models_step_all_prompts_in_one_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    def recorded(model, state):
        batches.append({len(value) for block in state.blocks for value in block.values()})
        return make_decoder(model, state)

    monkeypatch.setattr(generation, "make_decoder", recorded)
    taken(Generation(make_model(name), [some_tokens(length) for length in (3, 5, 9)]), 4)
    assert batches == [{3}]


def test_a_seed_decides_what_is_drawn() -> None:
    model, prompt = make_model("mamba"), some_tokens(1, 3)
    hot = Sampling(temperature=30)
    first, same, other = (taken(Generation(model, prompt, hot, seed=seed), 30) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(top_k=3),
        Sampling(top_k=50),
        Sampling(top_p=0.7),
        Sampling(repetition_penalty=1.5),
        Sampling(repetition_penalty=0.8, temperature=1.7, top_k=6, top_p=0.9),
    ],
    ids=repr,
)
def test_probabilities_are_those_of_transformers(sampling: Sampling) -> None:
    logits = 3 * torch.randn(40, VOCAB, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = some_tokens(40, 4)
    seen = torch.zeros(40, VOCAB, dtype=torch.bool).scatter(1, tokens, True)
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty),
            TemperatureLogitsWarper(sampling.temperature),
            *([TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []),
            *([TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []),
        ]
    )
    expected = processors(tokens, logits.clone()).softmax(-1)
    torch.testing.assert_close(sampling.probabilities(logits, seen), expected, rtol=1e-12, atol=1e-15)


def test_draws_follow_the_probabilities_and_never_take_the_impossible() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.2, 0.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount([int(draw(probabilities, [generator])) for _ in range(20_000)], minlength=6)
    deviations = np.sqrt(20_000 * probabilities[0].numpy() * (1 - probabilities[0].numpy()))
    assert (np.abs(counts - 20_000 * probabilities[0].numpy()) <= 4 * deviations).all()


def test_the_likeliest_token_is_kept_however_small_top_p_is() -> None:
    probabilities = Sampling(top_p=1e-9).probabilities(torch.tensor([[0.0, 2.0, 1.0]]))
    assert probabilities.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"repetition_penalty": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Sampling(**settings)


def test_prompts_cannot_be_empty() -> None:
    for prompts in ([], [some_tokens(3), some_tokens(0)]):
        with pytest.raises(ValueError, match="prompts of at least one token"):
            Generation(make_model("mamba"), prompts)


@every_model
@pytest.mark.parametrize("before", [0, 1, 9])
def test_a_saved_state_goes_on_with_the_same_tokens(tmp_path: Path, name: str, before: int) -> None:
    model, prompts = make_model(name), [some_tokens(length) for length in (4, 9)]
    sampling = Sampling(temperature=20, top_k=8, repetition_penalty=1.3)
    expected = taken(Generation(model, prompts, sampling, seed=3), 20)
    generation = Generation(model, prompts, sampling, seed=3)
    list(islice(generation, before))
    generation.save(tmp_path / "state", model_id="one")
    resumed = Generation.load(tmp_path / "state", model, model_id="one")
    assert resumed.sampling == sampling
    assert torch.equal(taken(resumed, 20 - before), expected[:, before:])


def test_what_is_no_state_is_named(tmp_path: Path) -> None:
    model = make_model("mamba")
    with pytest.raises(UserError, match="cannot be read"):
        Generation.load(tmp_path / "missing", model)
    (tmp_path / "other").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        Generation.load(tmp_path / "other", model)
    generation = Generation(model, [some_tokens(3)])
    generation.save(tmp_path / "state", model_id="one")
    with pytest.raises(UserError, match="of another model: one, not two"):
        Generation.load(tmp_path / "state", model, model_id="two")
    with pytest.raises(UserError, match="cannot be written"):
        generation.save(tmp_path / "no" / "state")


def test_a_long_prompt_is_fed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompt = make_model("mamba"), some_tokens(PREFILL + 100)
    lengths, prefill = [], model.prefill

    def recorded(tokens, state):
        lengths.append(tokens.shape[1])
        return prefill(tokens, state)

    monkeypatch.setattr(model, "prefill", recorded)
    first = taken(Generation(model, [prompt], Sampling(temperature=0)), 1)
    assert lengths == [PREFILL, 100]
    assert first.item() == model(prompt[None])[0, -1].argmax().item()


@every_model
def test_only_caches_grow(name: str) -> None:
    model, sizes = make_model(name), []
    generation = Generation(model, [some_tokens(2)])
    for _ in range(3):
        list(islice(generation, 10))
        sizes.append(generation.state_bytes)
    growth = 8 * sum(block.state_size(20) - block.state_size(10) for block in model.blocks.layers())
    assert np.diff(sizes).tolist() == [growth, growth]
    assert (growth > 0) == (name in ("hyena", "transformer", "transformer++"))

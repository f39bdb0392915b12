"""Whole models: sizes, initialisation, state."""

import math

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.models import MODELS
from seqsuite.models.backbone import LanguageModel
from seqsuite.models.build import build_model, count_parameters
from seqsuite.models.config import ModelConfig


def make_model(name: str, **settings: object) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2, **settings})
    return build_model(config, vocab_size=11, seqlen=40).double().eval()


every_model = pytest.mark.parametrize("name", MODELS.names())


@every_model
def test_steps_equal_one_prefill_equal_the_forward_pass(name):
    model, tokens = make_model(name), torch.randint(11, (2, 23))
    logits = model(tokens)
    prefilled, state = model.prefill(tokens[:, :9], model.initial_state(2))
    torch.testing.assert_close(prefilled, logits[:, :9])
    for t in range(9, 23):
        stepped, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(stepped, logits[:, t])
    assert state.position == 23


@every_model
def test_packed_sequences_do_not_see_each_other(name):
    model, tokens = make_model(name), torch.randint(11, (1, 20))
    packed = model(tokens, torch.tensor([0, 4, 20]))
    torch.testing.assert_close(packed[:, :4], model(tokens[:, :4]))
    torch.testing.assert_close(packed[:, 4:], model(tokens[:, 4:]))


def test_mamba_parameter_count_is_the_published_blocks():
    """Embedding; a block: norm, in- and out-projection, convolution, x_proj, dt_proj, A, D; last norm."""
    D, N, E, R, V = 64, 16, 128, 4, 50
    block = D + D * 2 * E + E * D + E * 4 + E + E * (R + 2 * N) + R * E + E + E * N + E
    config = ModelConfig(name="mamba", **MODELS.load("mamba")(), d_model=D, n_layer=3)
    assert count_parameters(config, vocab_size=V, seqlen=8) == V * D + 3 * block + D


def test_residual_outputs_shrink_with_the_depth():
    shallow, deep = (make_model("transformer", n_layer=n) for n in (1, 16))
    stds = [model.blocks[0].down_proj.weight.detach().std().item() for model in (shallow, deep)]
    assert math.isclose(stds[0] / stds[1], 4, rel_tol=0.1)  # √(2 · 16 / 2)


def test_embeddings_are_tied_unless_told_otherwise():
    tied, untied = make_model("mamba"), make_model("mamba", tie_embeddings=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.num_parameters() == tied.num_parameters() + 11 * 16


def test_learned_positions_end_somewhere():
    model = make_model("transformer")
    with pytest.raises(UserError, match="learned positions for 40 tokens and was given 41"):
        model(torch.zeros(1, 41, dtype=torch.long))


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match="'transformer' cannot be built: attention needs d_model divisible"):
        make_model("transformer", d_model=20)

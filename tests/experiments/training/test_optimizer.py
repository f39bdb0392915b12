"""Parameter groups and the learning rate."""

import pytest

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.optimizer import learning_rate, make_optimizer
from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig


@pytest.mark.parametrize("name", MODELS.names())
def test_only_matrices_decay(name):
    model = build_model(ModelConfig(name=name, **MODELS.load(name)()), vocab_size=5, seqlen=8)
    decayed, exempt = make_optimizer(model, TrainConfig(weight_decay=0.3)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.3, 0.0)
    assert len(decayed["params"]) + len(exempt["params"]) == len(names)
    for parameter in decayed["params"]:
        assert names[id(parameter)].endswith(("weight", "mixer.C"))
        assert parameter.ndim >= 2
    exempt_names = {names[id(parameter)].rpartition(".")[2] for parameter in exempt["params"]}
    assert exempt_names <= {
        "weight",
        "bias",
        "A_log",
        "D",
        "conv_bias",
        "log_dt",
        "A_real_log",
        "A_imag",
        "dt_bias",
        "frequencies",
        "P",
        "B",
    }
    for parameter in exempt["params"]:
        if names[id(parameter)].endswith("weight"):
            assert "norm" in names[id(parameter)] or "embedding" in names[id(parameter)]


def test_cosine_rises_and_falls():
    config = TrainConfig(steps=100, learning_rate=1.0, warmup=0.1, min_learning_rate=0.0, schedule="cosine")
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_constant_without_warm_up_is_constant():
    config = TrainConfig(steps=5, learning_rate=0.01, warmup=0.0, schedule="constant")
    assert {learning_rate(step, config) for step in range(5)} == {0.01}

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


def test_linear_falls_straight_and_wsd_only_at_the_end():
    common = {"steps": 100, "learning_rate": 1.0, "warmup": 0.1, "min_learning_rate": 0.0}
    linear = TrainConfig(**common, schedule="linear")
    assert learning_rate(55, linear) == pytest.approx(0.5)
    wsd = TrainConfig(**common, schedule="wsd", decay=0.2)
    assert {learning_rate(step, wsd) for step in range(10, 80)} == {1.0}
    assert learning_rate(90, wsd) == pytest.approx(0.5)


def test_muon_takes_the_matrices_and_adamw_the_rest():
    model = build_model(ModelConfig(name="mamba", **MODELS.load("mamba")()), vocab_size=5, seqlen=8)
    optimizer = make_optimizer(model, TrainConfig(optimizer="muon", learning_rate=0.01, muon_rate=5.0))
    adamw, muon = optimizer.parts
    matrices = [p for group in muon.param_groups for p in group["params"]]
    assert matrices
    assert all(parameter.ndim == 2 for parameter in matrices)
    count = len(matrices) + sum(len(group["params"]) for group in adamw.param_groups)
    assert count == len(list(model.parameters()))
    optimizer.set_rate(0.002)
    assert {group["lr"] for group in adamw.param_groups} == {0.002}
    assert [group["lr"] for group in muon.param_groups] == [pytest.approx(0.01)]


def test_rates_step_by_step() -> None:
    """By hand: two steps of warm-up, then down to a fifth, which the last step is still above."""
    common = {"steps": 10, "learning_rate": 1.0, "warmup": 0.2, "min_learning_rate": 0.2}
    for schedule, expected in {
        "linear": [0.5, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
        "wsd": [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.6],
        "constant": [0.5, *[1.0] * 9],
    }.items():
        config = TrainConfig(**common, schedule=schedule, decay=0.2)
        rates = [learning_rate(step, config) for step in range(10)]
        assert rates == pytest.approx(expected)
    cosine = TrainConfig(**common, schedule="cosine")
    assert learning_rate(6, cosine) == pytest.approx(0.6)
    long = TrainConfig(**common, schedule="wsd", decay=0.95)
    assert learning_rate(3, long) == pytest.approx(0.9)
    raised = TrainConfig(**common | {"min_learning_rate": 5.0}, schedule="linear")
    assert [learning_rate(step, raised) for step in (0, 5, 9)] == [0.5, 1.0, 1.0]


def test_embeddings_and_norms_do_not_decay_and_matrices_do() -> None:
    model = build_model(ModelConfig(name="mamba", **MODELS.load("mamba")()), vocab_size=5, seqlen=8)
    config = TrainConfig(weight_decay=0.3, learning_rate=0.5, beta1=0.8, beta2=0.9)
    optimizer = make_optimizer(model, config)
    decayed, exempt = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert "embedding.weight" in {names[id(parameter)] for parameter in exempt["params"]}
    assert {(group["lr"], group["betas"], group["eps"]) for group in (decayed, exempt)} == {
        (0.5, (0.8, 0.9), 1e-8)
    }
    assert list(optimizer.likes()) == [f"0.state.{place}" for place in range(len(names))]
    optimizer.set_rate(0.25)
    assert (decayed["lr"], exempt["lr"]) == (0.25, 0.25)

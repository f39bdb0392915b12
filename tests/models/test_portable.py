"""Which models a page can run, and that their weights arrive as they are."""

import base64
from typing import Any

import numpy as np
import pytest
import torch

import seqsuite
from seqsuite.models.portable import MOST_PARAMETERS, portable


def make(name: str, **settings: Any) -> Any:
    return seqsuite.build(name, vocab_size=7, seqlen=16, seed=0, **{"d_model": 16, "n_layer": 2, **settings})


@pytest.mark.parametrize("name", ["mamba", "s4", "s4d", "transformer", "transformer++", "hybrid"])
def test_weights_are_the_models_own(name: str) -> None:
    model = make(name)
    described = portable(model)
    assert described is not None
    numbers = np.frombuffer(base64.b64decode(described["weights"]), dtype="<f4")
    embedding = described["embedding"]
    at, (rows, columns) = embedding["at"], embedding["shape"]
    table = torch.from_numpy(numbers[at : at + rows * columns].reshape(rows, columns).copy())
    assert torch.equal(table, model.embedding.weight)
    assert described["head"] == embedding  # tied
    assert len(described["layers"]) == 2


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hyena", {}),
        ("mamba2", {}),
        ("mamba", {"backbone": {"name": "unet", "pool": 4}}),
        ("mamba", {"mixer": {"name": "s6", "dt_rank": None}}),
        ("mamba", {"mixer": {"name": "s6", "A_init": "lin"}}),
        ("transformer++", {"mixer": {"name": "attention", "n_heads": 2, "window": 4}}),
        ("mamba", {"d_model": 256, "n_layer": 3}),
    ],
)
def test_larger_and_other_models_are_left_to_python(name: str, settings: dict[str, Any]) -> None:
    model = make(name, **settings)
    assert portable(model) is None
    assert "d_model" not in settings or model.num_parameters() > MOST_PARAMETERS

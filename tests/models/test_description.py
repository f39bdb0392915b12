"""What a page draws of a model is what the model does."""

import json
from typing import Any

import pytest
import torch

import seqsuite
from seqsuite.models import MODELS
from seqsuite.models.description import LONGEST_MATRIX, describe, without_each


def make(name: str, **settings: Any) -> Any:
    return seqsuite.build(
        name, vocab_size=9, seqlen=300, seed=0, **{"d_model": 16, "n_layer": 2, **settings}
    ).eval()


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_can_be_described(name: str) -> None:
    model, ids = make(name), torch.randint(9, (12,), generator=torch.Generator().manual_seed(0))
    described = json.loads(json.dumps(describe(model, ids, str), allow_nan=False))
    chances = model(ids.unsqueeze(0))[0, -1].softmax(-1)
    assert described["answers"][-1][0] == [
        str(int(chances.argmax())),
        pytest.approx(chances.max().item(), abs=1e-5),
    ]
    assert len(described["state_bytes"]) == len(described["without"]) == 12
    for layer in described["layers"]:
        for shares in layer["read"] or []:
            assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_the_state_of_attention_grows_and_of_others_does_not() -> None:
    grows = {
        name: len(set(describe(make(name), torch.arange(6), str)["state_bytes"])) > 1
        for name in ("mamba", "s4d", "transformer")
    }
    assert grows == {"mamba": False, "s4d": False, "transformer": True}


def test_an_answer_moves_as_far_as_it_does_without_a_token() -> None:
    model, ids = make("mamba"), torch.tensor([3, 1, 4, 1])
    moved = without_each(model, ids)
    assert moved is not None

    def last(tokens: list[int]) -> Any:
        return model(torch.tensor([tokens]))[0, -1].softmax(-1)

    expected = (last([3, 4, 1]) - last([3, 1, 4, 1])).abs().sum() / 2
    torch.testing.assert_close(moved[1], expected)
    assert without_each(model, ids[:1]) is None


def test_channels_that_open_widest_are_all_channels() -> None:
    described = describe(make("mamba"), torch.arange(8), str)
    for layer in described["layers"]:
        assert sum(layer["delta"]["widest"]) == 32  # twice the width
        mean, top = layer["delta"]["mean"], layer["delta"]["top"]
        assert all(opened[0][1] >= average for opened, average in zip(top, mean, strict=True))


def test_long_inputs_have_no_matrices() -> None:
    layer = describe(make("mamba", n_layer=1), torch.zeros(LONGEST_MATRIX + 1, dtype=torch.long), str)[
        "layers"
    ][0]
    assert layer["memory"] is layer["read"] is layer["state"] is None
    assert len(layer["delta"]["mean"]) == LONGEST_MATRIX + 1


def test_both_modes_of_some_channels_are_given() -> None:
    modes = describe(make("s4"), torch.arange(8), str)["layers"][0]["modes"]
    assert len({mode["channel"] for mode in modes}) == 3
    for mode in modes:
        kernel, x = mode["kernel"], mode["input"]
        convolved = [sum(kernel[t - s] * x[s] for s in range(t + 1)) for t in range(8)]
        assert convolved == pytest.approx(mode["output"], abs=1e-5)

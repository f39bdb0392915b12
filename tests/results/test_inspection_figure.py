"""The picture of what models let in."""

from pathlib import Path

import torch

import seqsuite
from seqsuite.models.description import describe
from seqsuite.results.inspection_figure import inspection_figure, most_selective, write_figure

from .drawn import check, in_words


def named(name: str, label: str | None = None) -> dict[str, str | None]:
    return {"name": name, "label": label}


def page_data(*names: str) -> dict[str, object]:
    ids = torch.arange(6)
    models = [seqsuite.build(name, vocab_size=9, seqlen=9, seed=0, d_model=16).eval() for name in names]
    described = [describe(model, ids, lambda token: f"${token}") for model in models]
    tokens = ["a", " ", "$x", "y_1", "^", "b"]
    return {
        "inputs": [{"tokens": tokens, "models": described}],
        "models": [named(name) for name in names],
    }


def test_models_stand_side_by_side_on_one_scale() -> None:
    figure = inspection_figure(page_data("mamba", "s4d", "transformer"))
    steps = figure.axes[:3]
    assert [len(axes.patches) for axes in steps] == [6, 6, 0]  # attention has no step size
    assert len({axes.get_ylim() for axes in steps}) == 1
    assert steps[0].get_title().startswith("mamba\n")


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    data = page_data("mamba")
    for name in ("a.svg", "b.svg"):
        write_figure(data, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_layer_that_selects_most_is_found() -> None:
    means = ([0.1, 0.1], [0.1, 0.3], 0.5)
    layers = [{"delta": {"mean": mean}} for mean in means]
    assert most_selective([*layers, {"delta": None}]) == 1


def told(length: int, **others: object) -> dict[str, object]:
    """A model of two layers, of which the second tells nothing."""
    steps = [0.1 + place / length for place in range(length)]
    remembered = [[[1.0] * length, [place / length for place in range(length)]]]
    layer = {"delta": {"mean": steps}, "memory": {"values": remembered}, "read": [steps, steps[::-1]]}
    silent = {"delta": None, "memory": None, "read": None}
    model = {
        "layers": [layer, silent],
        "without": steps,
        "answers": [[["x", 1.0]], [["b", 0.75], [" ", 0.25]]],
    }
    return {**model, **others}


def test_what_models_say_is_drawn_as_expected() -> None:
    """Up to 64 tokens have names; a constant step size is one of each token, and of pieces there is none."""
    layer = {"delta": {"mean": 0.25}, "memory": None, "read": None}
    pieces = {"delta": {"mean": [0.5]}, "memory": {"values": [[[1.0], [0.5]]]}, "read": [[1.0]]}
    silent = {"delta": None, "memory": None, "read": None}
    models = [
        told(3),
        told(3, layers=[silent, layer]),
        told(3, layers=[pieces], without=None),
        told(3, layers=[silent]),
    ]
    data = {
        "inputs": [{"tokens": ["a", " ", "$b"], "models": models}],
        "models": [named(name) for name in ("told", "constant", "pieces", "silent")],
    }
    check("inspection.txt", in_words(inspection_figure(data)))
    nothing = {**data, "inputs": [{"tokens": ["a"], "models": [told(1, layers=[silent])]}]}
    step, *_ = inspection_figure({**nothing, "models": [named("silent")]}).axes
    assert step.get_ylim() == (0, 1)
    for length, count in ((64, 64), (65, 0)):
        tokens = {"tokens": ["a"] * length, "models": [told(length, layers=[silent])]}
        step, _, moved, _ = inspection_figure(
            {"inputs": [tokens], "models": [named("long", "mamba + x")]}
        ).axes
        assert step.get_title().startswith("long\nmamba + x\nlet in")
        assert sum(label.get_text() == "a" for label in moved.get_xticklabels()) == count

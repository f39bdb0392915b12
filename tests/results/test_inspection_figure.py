"""The picture of what models let in."""

from pathlib import Path

import torch

import seqsuite
from seqsuite.models.description import describe
from seqsuite.results.inspection_figure import inspection_figure, most_selective, write_figure


def page_data(*names: str) -> dict[str, object]:
    ids = torch.arange(6)
    models = [seqsuite.build(name, vocab_size=9, seqlen=9, seed=0, d_model=16).eval() for name in names]
    described = [describe(model, ids, lambda token: f"${token}") for model in models]
    tokens = ["a", " ", "$x", "y_1", "^", "b"]
    return {"inputs": [{"tokens": tokens, "models": described}], "models": [{"name": name} for name in names]}


def test_models_stand_side_by_side_on_one_scale() -> None:
    figure = inspection_figure(page_data("mamba", "s4d", "transformer"))
    steps = figure.axes[:3]
    assert [len(axes.patches) for axes in steps] == [6, 6, 0]  # attention has no step size
    assert len({axes.get_ylim() for axes in steps}) == 1
    assert steps[0].get_title().startswith("mamba\n")


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    data = page_data("mamba")
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        write_figure(data, tmp_path / name)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_the_layer_that_selects_most_is_found() -> None:
    means = ([0.1, 0.1], [0.1, 0.3], 0.5)
    layers = [{"delta": {"mean": mean}} for mean in means]
    assert most_selective([*layers, {"delta": None}]) == 1

"""The inspection page of DNA, which stands in rows, and of audio, which is a waveform."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.experiments.config.resolve import resolve_model
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.description import describe
from seqsuite.models.portable import portable
from seqsuite.results.inspection_page import write_page

pytestmark = pytest.mark.browser


def page_of(**parts: Any) -> dict[str, Any]:
    """What a page is made of, still without inputs and models."""
    return {"row": 0, "rate": None, "why": "", "reader": None, "scan": None, **parts}


def test_dna_stands_in_rows_of_sixty(open_page: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = build_shaped(resolve_model("mamba", {"d_model": 8, "n_layer": 1}), ModelShape(130, 5)).eval()
    bases = "ACGTN" * 26
    ids = torch.tensor(["ACGTN".index(base) for base in bases])
    letters = {"kind": "letters", "tokens": list("ACGTN"), "labels": list("ACGTN")}
    data = page_of(unit="base", row=60, reader=letters)
    data["inputs"] = [
        {
            "text": bases,
            "tokens": list(bases),
            "wave": None,
            "models": [describe(model, ids, "ACGTN".__getitem__)],
        }
    ]
    data["models"] = [
        {
            "name": "mamba",
            "parameters": 1,
            "label": None,
            "score": None,
            "longest": 130,
            "live": portable(model),
            "names": list("ACGTN"),
        }
    ]
    write_page(data, tmp_path / "dna.html")
    page = open_page((tmp_path / "dna.html").as_uri(), 360)
    assert page.locator(".place").all_inner_texts() == ["1", "61", "121"]
    tops = [token.bounding_box()["y"] for token in page.locator(".token").all()]
    assert len({round(top) for top in tops}) == 3
    assert tops[0] == tops[59] < tops[60]
    for key, place in (("End", 129), ("Home", 0)):
        page.keyboard.press(key)
        strip, token = (
            page.locator(".tokens").bounding_box(),
            page.locator(".token").nth(place).bounding_box(),
        )
        assert strip["x"] <= token["x"] < strip["x"] + strip["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#sentence-input").fill("acg tnn")
    page.locator("#sentence-input").press("Enter")
    assert page.locator("#where").inner_text() == "6 of 6: N"
    chance = model(torch.tensor([[0, 1, 2, 3, 4, 4]]))[0, -1].softmax(-1).max().item()
    assert page.locator("section td").nth(1).inner_text() == f"{100 * chance:.1f} %"


def test_audio_is_a_waveform_that_plays(open_page: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = build_shaped(resolve_model("mamba", {"d_model": 8, "n_layer": 1}), ModelShape(400, 256)).eval()
    ids = torch.randint(256, (400,))
    data = page_of(unit="sample", rate=16_000, why="Chosen.")
    data["inputs"] = [
        {
            "text": "a.wav",
            "tokens": [f"level {level}" for level in ids.tolist()],
            "wave": [(level - 128) / 128 for level in ids.tolist()],
            "models": [describe(model, ids, str)],
        }
    ]
    data["models"] = [
        {
            "name": "mamba",
            "label": None,
            "parameters": 1,
            "score": None,
            "longest": 256,
            "live": None,
            "names": None,
        }
    ]
    write_page(data, tmp_path / "audio.html")
    page = open_page((tmp_path / "audio.html").as_uri(), 360)
    wave = page.locator("section canvas.wide")
    box = wave.bounding_box()
    wave.click(position={"x": box["width"] / 2, "y": 20})
    sample = int(page.locator("#where").inner_text().partition(" of 400: level")[0])
    assert sample in range(199, 203)  # a pixel is more than a sample
    assert f"played to sample {sample}" in wave.get_attribute("aria-label")
    assert page.locator(".token").count() == 0
    page.keyboard.press("Home")
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('play').textContent === 'Play'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

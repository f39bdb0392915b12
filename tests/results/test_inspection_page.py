"""The inspection page in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.commands.inspect import describe
from seqsuite.experiments.config.resolve import resolve_model
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.inspection import inspect_model
from seqsuite.results.inspection_page import write_page
from seqsuite.tasks.hamburger import Hamburger

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORDS = ["well", "you", "know", ".", "i", "want", "to", "order", "a", "hamburger", "."]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    torch.manual_seed(0)
    io = Hamburger(seed=0).io
    shape = ModelShape(seqlen=io.seqlen, vocab_size=io.vocab_size, n_classes=io.n_classes)
    settings = {"d_model": 16, "n_layer": 2}
    names = ("mamba", "s4d", "transformer")
    return {name: build_shaped(resolve_model(name, settings), shape).eval() for name in names}


@pytest.fixture(scope="module")
def page_file(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = Hamburger(seed=0)
    ids = torch.from_numpy(task.words.encode(" ".join(WORDS)))
    shown = [{"name": name, **describe(model, task, ids)} for name, model in models.items()]
    file = tmp_path_factory.mktemp("page") / "inspect.html"
    tokens = [*WORDS[:-1], "</script>"]
    write_page({"tokens": tokens, "unit": "token", "row": 0, "models": shown}, file)
    return file


@pytest.fixture(params=[360, 1600])
def page(request: pytest.FixtureRequest, page_file: Path) -> Iterator[Any]:
    """The page at a width; at its end, nothing was said on the console."""
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_page(viewport={"width": request.param, "height": 900})
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto(f"{page_file.as_uri()}#3")
        yield opened
        browser.close()
    assert said == []


def test_keys_step_and_the_numbers_are_the_models(page: Any, models: dict[str, Any]) -> None:
    where = page.locator("#where")
    assert where.inner_text() == "3 of 11: know"
    for key, place in (("ArrowRight", 4), ("ArrowLeft", 3), ("Home", 1), ("ArrowLeft", 1), ("End", 11)):
        page.keyboard.press(key)
        assert where.inner_text().startswith(f"{place} of 11")
    assert page.url.endswith("#11")
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press(" ")
    page.keyboard.press("End")

    ids = torch.from_numpy(Hamburger(seed=0).words.encode(" ".join(WORDS))).unsqueeze(0)
    for section, name in zip(page.locator("section").all(), models, strict=True):
        chance = models[name](ids)[0].softmax(-1).max().item()
        assert section.locator("td").nth(1).inner_text() == f"{100 * chance:.1f} %"
        section.locator("select").first.select_option("0")
    deltas = [inspect_model(models[name], ids)[0]["delta"].values.mean().item() for name in ("mamba", "s4d")]
    titles = [section.locator(".token").all() for section in page.locator("section").all()]
    shown = [
        [float(token.get_attribute("title").split("Δ ")[1].split(";")[0]) for token in tokens]
        for tokens in titles[:2]
    ]
    assert sum(shown[0]) / 11 == pytest.approx(deltas[0], rel=1e-3)
    assert shown[1] == [pytest.approx(deltas[1], rel=1e-3)] * 11
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_layer_and_a_head_can_be_chosen(page: Any) -> None:
    section = page.locator("section").nth(2)
    before = section.locator(".token").first.get_attribute("title")
    section.locator("select").nth(1).select_option("1")
    assert section.locator(".token").first.get_attribute("title") != before
    section.locator("select").first.select_option("1")  # another layer begins with its first head
    assert section.locator("select").nth(1).input_value() == "0"


def test_what_a_model_does_not_show_takes_no_room(page: Any) -> None:
    visible = [section.locator("canvas:visible").count() for section in page.locator("section").all()]
    assert visible == [2, 1, 1]  # only a selective layer shows a state

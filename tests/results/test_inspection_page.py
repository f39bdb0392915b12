"""The inspection page in a real browser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.experiments.config.resolve import resolve_model
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.description import describe
from seqsuite.models.inspection import inspect_model
from seqsuite.models.portable import portable
from seqsuite.results.inspection_page import write_page
from seqsuite.tasks.hamburger import INTENTS, Hamburger

SENTENCE = "well you know . i want to order a hamburger ."
OTHER = "my sister wanted to cancel a taxi . i need to change a flight ."
TASK = Hamburger(seed=0)
NAMES = ("mamba", "s4d", "transformer")
"""Those of the page that is looked at."""
SWITCHED = {
    "without B": {"mixer": {"selective_B": False}, "block": {"d_conv": 2}},
    "without C": {"mixer": {"selective_C": False}},
    "only the step": {"mixer": {"selective_B": False, "selective_C": False}},
}
"""Mambas of which not all is selective."""

pytestmark = pytest.mark.browser


def ids_of(sentence: str) -> torch.Tensor:
    return torch.from_numpy(TASK.words.encode(sentence))


def data_of(models: dict[str, Any], sentences: list[str], **changes: Any) -> dict[str, Any]:
    """What the page is made of for models of the hamburger."""
    inputs = [
        {
            "text": sentence,
            "tokens": sentence.split(),
            "wave": None,
            "models": [describe(model, ids_of(sentence), INTENTS.__getitem__) for model in models.values()],
        }
        for sentence in sentences
    ]
    described = [
        {
            "name": name,
            "parameters": model.num_parameters(),
            "label": f"{name} + d_state=4" if name == "mamba" else None,
            "score": None,
            "longest": 40,
            "live": portable(model),
            "names": INTENTS,
        }
        for name, model in models.items()
    ]
    words = TASK.words.words
    reader = {"kind": "words", "tokens": words, "labels": words, "end": TASK.words.end}
    data = {"unit": "token", "row": 0, "rate": None, "inputs": inputs, "models": described, "why": ""}
    return {**data, "reader": reader, "scan": None, **changes}


def address(page: Any) -> str:
    """Return the page's address as it has it itself; ``page.url`` hears of changes a little later."""
    found: str = page.evaluate("location.href")
    return found


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Models whose step sizes and attention differ between tokens, as trained ones' do."""
    torch.manual_seed(0)
    shape = ModelShape(seqlen=TASK.io.seqlen, vocab_size=TASK.io.vocab_size, n_classes=len(INTENTS))
    settings: dict[str, Any] = {"d_model": 16, "n_layer": 2}
    own = {"transformer": {"mixer": {"n_heads": 8}}}
    made = {
        name: build_shaped(resolve_model(name, settings | own.get(name, {})), shape).eval()
        for name in (*NAMES, "s4")
    }
    made |= {
        name: build_shaped(resolve_model("mamba", settings | switches), shape).eval()
        for name, switches in SWITCHED.items()
    }
    with torch.no_grad():
        for model in made.values():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def page_file(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"way": way, "seqlen": n, "seconds": n / 1e6} for way in ("loop", "tree") for n in (64, 256)]
    data = data_of(
        {name: models[name] for name in NAMES},
        [SENTENCE, OTHER],
        scan={"machine": "a machine", "shape": "a shape", "rows": rows},
    )
    data["inputs"][1]["tokens"] = [*OTHER.split()[:-1], "</script>"]
    file = tmp_path_factory.mktemp("page") / "inspect.html"
    write_page(data, file)
    return file


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_keys_step_and_the_numbers_are_the_models(
    open_page: Callable[..., Any], page_file: Path, models: dict[str, Any], width: int, scheme: str
) -> None:
    page = open_page(f"{page_file.as_uri()}#3", width, scheme)
    where = page.locator("#where")
    assert where.inner_text() == "3 of 11: know"
    for key, place in (("ArrowRight", 4), ("ArrowLeft", 3), ("Home", 1), ("ArrowLeft", 1), ("End", 11)):
        page.keyboard.press(key)
        assert where.inner_text().startswith(f"{place} of 11")
    assert address(page).endswith("#11")
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "Pause"
    page.keyboard.press(" ")
    page.keyboard.press("End")

    ids = ids_of(SENTENCE).unsqueeze(0)
    for section, name in zip(page.locator("section").all(), NAMES, strict=True):
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
    for tab in ("modes", "scan", "tokens"):
        page.locator(f"nav button[data-tab={tab}]").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="print")
    assert not page.locator(".controls").is_visible()
    assert page.locator("section").count() == 3


def test_a_layer_and_a_head_can_be_chosen_and_what_is_kept_or_read(
    open_page: Callable[..., Any], page_file: Path
) -> None:
    page = open_page(f"{page_file.as_uri()}#5")
    section = page.locator("section").nth(2)
    first = section.locator(".token").first
    before = first.get_attribute("title")
    section.locator("select").nth(1).select_option("1")
    assert first.get_attribute("title") != before
    assert "kept now" in before
    section.locator("select").first.select_option("1")  # another layer begins with its first head
    assert address(page).rpartition("#")[2].startswith("5/tokens/")
    again = open_page(address(page)).locator("section").nth(2)
    assert again.locator("select").first.input_value() == "1"
    assert section.locator("select").nth(1).input_value() == "0"
    page.locator("#below").select_option("read")
    assert "share read now" in first.get_attribute("title")
    assert section.locator("svg.lines path").count() == 4  # from each earlier token


def test_a_model_that_is_not_its_preset_says_so(open_page: Callable[..., Any], page_file: Path) -> None:
    mamba, s4d, _ = open_page(page_file.as_uri()).locator("section").all()
    assert "mamba + d_state=4" in mamba.inner_text()
    assert "+" not in s4d.inner_text()


def test_swatches_stand_beside_their_words_and_a_kernel_is_called_so(
    open_page: Callable[..., Any], page_file: Path
) -> None:
    page = open_page(page_file.as_uri(), 390)
    keys = page.locator(".legend .key").all()
    assert [key.inner_text().strip() for key in keys] == ["let in:", "kept:", "counts:"]
    assert all(key.evaluate("key => key.getClientRects().length") == 1 for key in keys)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("section").nth(1).locator("h3", has_text="Memory: the kernel |K̄| from s").count() == 1


def test_what_a_model_does_not_show_takes_no_room(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(page_file.as_uri())
    visible = [section.locator("canvas:visible").count() for section in page.locator("section").all()]
    assert visible == [2, 2, 1]  # attention has no state of one size


@pytest.mark.parametrize("name", [*NAMES, "s4", *SWITCHED])
def test_python_and_page_agree(
    open_page: Callable[..., Any], tmp_path: Path, models: dict[str, Any], name: str
) -> None:
    write_page(data_of(models, [SENTENCE]), tmp_path / "page.html")
    page, ids = open_page((tmp_path / "page.html").as_uri()), ids_of(OTHER)
    index = list(models).index(name)
    logits = page.evaluate(f"ids => runModel(live[{index}], ids).logits.map(row => [...row])", ids.tolist())
    with torch.no_grad():
        expected, _ = models[name].prefill(ids.unsqueeze(0), models[name].initial_state(1))
    torch.testing.assert_close(torch.tensor(logits), expected[0], rtol=0, atol=1e-4)

    code = f"ids => describeModel(live[{index}], ids, data.models[{index}].names)"
    assert_alike(page.evaluate(code, ids.tolist()), describe(models[name], ids, INTENTS.__getitem__))


def assert_alike(found: Any, expected: Any) -> None:
    """Compare nested lists and dicts, numbers to 1e-4."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, (int, float)):
        assert found == pytest.approx(expected, abs=1e-4, rel=1e-4)
    else:
        assert found == expected


def test_a_readers_own_sentence_is_shown(
    open_page: Callable[..., Any], page_file: Path, models: dict[str, Any]
) -> None:
    page = open_page(page_file.as_uri())

    def give(text: str) -> str:
        page.locator("#sentence-input").fill(text)
        page.locator("#sentence-input").press("Enter")
        return page.locator("#note").inner_text()

    words = TASK.words.words
    assert give("Nobody forgot to stop a concert . 1 ") == (
        f"“1” is not among the {len(words)} words that this task reads: {' '.join(words)}"
    )
    assert page.locator("#where").inner_text().startswith("1 of 11")
    assert give("a " * 40) == "It has 41 tokens: these models take 1 to 40 here."
    assert give(" ") == "It has 0 tokens: these models take 1 to 40 here."
    assert give("I want to stop a big concert") == "Computed in this page."
    assert page.locator("#where").inner_text() == "8 of 8: ."
    chances = models["mamba"](ids_of("i want to stop a big concert .").unsqueeze(0))[0].softmax(-1)
    label, chance = page.locator("section").first.locator("td").all()[:2]
    assert label.inner_text() == INTENTS[int(chances.argmax())]
    assert chance.inner_text() == f"{100 * chances.max().item():.1f} %"
    assert f"mamba says {label.inner_text()} at the end" in page.locator(".says").first.inner_text()
    page.keyboard.press("1")  # typed, not a page's number
    assert page.locator("#sentence-input").input_value().endswith("1")


def test_the_sentence_tells_this_inputs_numbers(
    open_page: Callable[..., Any], page_file: Path, models: dict[str, Any]
) -> None:
    page = open_page(page_file.as_uri())
    described = describe(models["mamba"], ids_of(SENTENCE), INTENTS.__getitem__)
    says = page.locator(".says").first.inner_text()
    most = max(range(11), key=described["without"].__getitem__)
    assert (
        f"moves most without “{SENTENCE.split()[most]}” ({most + 1}): {described['without'][most]:.2f}"
        in says
    )
    assert "Its step size is the same for every token" in page.locator(".says").nth(1).inner_text()
    assert "It has no step size" in page.locator(".says").nth(2).inner_text()
    page.locator("#input").select_option("1")
    assert page.locator(".says").first.inner_text() != says
    assert page.locator(".token .word").nth(14).inner_text() == "</script>"


def test_both_modes_arrive_at_the_same_numbers(
    open_page: Callable[..., Any], page_file: Path, models: dict[str, Any]
) -> None:
    page = open_page(f"{page_file.as_uri()}#7/modes")
    assert page.locator("#tab-modes option").all_inner_texts()[0] == "s4d"
    channel = int(
        page.locator("#tab-modes select").nth(2).locator("option").nth(1).inner_text().split(",")[0]
    )
    layer = inspect_model(models["s4d"], ids_of(SENTENCE).unsqueeze(0))[0]
    expected = layer["output"].values[0, 6, channel].item()
    words = page.locator("#equal").inner_text().split()
    assert float(words[1].rstrip(",")) == pytest.approx(expected, abs=1e-6)
    assert float(words[3].rstrip(";")) == pytest.approx(expected, abs=1e-6)
    page.keyboard.press("ArrowRight")
    assert address(page).endswith("#8/modes")
    assert page.locator("#equal").inner_text().split() != words


def test_the_scan_steps_and_its_times_are_shown(open_page: Callable[..., Any], page_file: Path) -> None:
    page = open_page(f"{page_file.as_uri()}#2")
    page.keyboard.press("3")
    assert page.locator("#where").inner_text() == "step 1 of 15"
    page.keyboard.press("End")
    assert address(page).endswith("#15/scan")
    sums = [sum([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3][: n + 1]) for n in range(16)]
    for table, steps in zip(page.locator("table.ways").all(), (15, 7, 7), strict=True):
        last = table.locator("tr").nth(steps)
        assert [int(cell) for cell in last.locator("td").all_inner_texts()] == sums
    assert page.locator("table.times td").all_inner_texts() == ["64 µs", "64 µs", "256 µs", "256 µs"]
    names = page.locator(".times-plot text:not([text-anchor])").all()
    heights = sorted(float(name.get_attribute("y") or 0) for name in names)
    assert len(heights) == 2
    assert heights[1] - heights[0] >= 12  # though both lines end at one place
    page.reload()
    assert page.locator("#where").inner_text() == "step 15 of 15"
    page.keyboard.press("1")
    assert address(page).endswith("#1")


def test_without_kernels_times_or_weights_the_page_says_so(
    open_page: Callable[..., Any], models: dict[str, Any], tmp_path: Path
) -> None:
    data = data_of({"mamba": models["mamba"]}, [SENTENCE], why="It is large.")
    data["models"][0]["live"] = None
    write_page(data, tmp_path / "fixed.html")
    page = open_page((tmp_path / "fixed.html").as_uri())
    assert page.locator("#note").inner_text() == "It is large."
    assert not page.locator("#own").is_visible()
    page.keyboard.press("2")
    assert "None of these models has a kernel" in page.locator("#tab-modes").inner_text()
    page.keyboard.press("3")
    assert "No times were measured" in page.locator("#tab-scan").inner_text()

"""The card of an architecture: which cells, which learning rate, what the seeds carry, and how it looks."""

import dataclasses
import io
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun, flatten
from seqsuite.report import write
from seqsuite.report.markup import markdown
from seqsuite.report.pictures import PictureFile
from seqsuite.results.looks import looks
from seqsuite.results.scorecard.battery import Battery, Slot, Test, labels, read_battery, slots
from seqsuite.results.scorecard.card import (
    Card,
    by_cell,
    further_seeds,
    make_card,
    sweep,
)
from seqsuite.results.scorecard.cost import Cost, ModelCost
from seqsuite.results.scorecard.page import card_page
from seqsuite.results.scorecard.picture import card_figure, draw_card
from seqsuite.results.scorecard.table import card_report, run_rows

from .drawn import check, in_words

BATTERY = Battery(
    reference="mamba",
    builtin=["mamba", "s4d"],
    rates=[1e-3, 4e-3],
    seeds={"smoke": 3},
    shared={"smoke": "model.d_model=16 model.n_layer=1"},
    tests=[
        Test(
            name="copying",
            title="Copying",
            group="copying",
            about="repeat",
            metric="accuracy",
            perfect=100.0,
            settings={"smoke": "task=selective_copying task.length=12 task.num_tokens=3"},
        ),
        Test(
            name="induction",
            title="Induction",
            group="length",
            about="recall <what> followed",
            metric="accuracy",
            sets={"smoke": "length_64"},
            chance=12.5,
            perfect=100.0,
            settings={"smoke": "task=induction_heads task.length=16 task.max_length=64"},
        ),
    ],
)
MODELS = ["model=mamba,s4d,hyena"]
SCORES = {"mamba": (97.0, 98.0, 99.0), "s4d": (60.0, 64.0, 62.0), "hyena": (98.5, 97.0, 98.4)}


def fake(slot: Slot) -> CellRun:
    """A finished run whose smaller learning rate is better on validation, and worse on the test."""
    metrics = {
        f"best/{slot.test.metric}": 90.0 if slot.rate < 2e-3 else 80.0,
        "validation/loss": 0.5,
        f"test/{slot.test.metric}": 1.0,
        f"test/{slot.test.metric_at('smoke')}": SCORES[slot.model][slot.seed] + (slot.rate > 2e-3),
        f"baseline/{slot.test.metric}": 7.0,
        schema.PARAMETERS: 1234,
        schema.TRAIN_SECONDS: 2.0,
    }
    tags = {
        schema.TAG_DATA: slot.cell.make_task().fingerprint(),
        schema.TAG_METRIC: slot.test.metric,
        schema.TAG_METRIC_UNIT: "%",
        schema.TAG_HIGHER_IS_BETTER: "true",
        schema.TAG_EVALS: "length_16: 8 x 16, length_64: 512 x 64",
    }
    run_id = f"{slot.test.name}{slot.model}{slot.rate}{slot.seed}"
    params = flatten(slot.cell.model_dump(mode="json"))
    return CellRun(run_id, slot.cell.title, "FINISHED", params, metrics, tags, 86_400.0)


@pytest.fixture(scope="module")
def every() -> list[Slot]:
    return slots(BATTERY, "smoke", MODELS)


@pytest.fixture(scope="module")
def card(every: list[Slot]) -> Card:
    runs = by_cell([fake(slot) for slot in every])
    return make_card(
        BATTERY, "smoke", every, runs, candidate="hyena", about="Long <filters>.", command="make it"
    )


@pytest.fixture(scope="module")
def costs() -> list[ModelCost]:
    by_length = [Cost(n, n * 1e-4, n * 1000, 1e-4, 2048) for n in (256, 1024)]
    unknown = [Cost(256, 2e-2, None, 1e-5, 4096)]
    return [ModelCost("mamba", 7000, by_length), ModelCost("hyena", 7100, unknown)]


def test_a_cell_for_each_model_test_rate_and_seed(every: list[Slot]) -> None:
    assert len(every) == 3 * 2 * 2 * 3
    assert len({(slot.test.name, slot.model, slot.cell.title) for slot in every}) == len(every)
    assert len(sweep(every)) == 12
    assert {slot.cell.train.learning_rate for slot in every} == {1e-3, 4e-3}


def test_the_rate_is_chosen_on_validation_and_only_its_seeds_are_run(every: list[Slot]) -> None:
    assert further_seeds(every, by_cell([])) == []
    runs = by_cell([fake(slot) for slot in sweep(every)])
    follow = further_seeds(every, runs)
    assert len(follow) == 12
    assert {slot.rate for slot in follow} == {1e-3}
    assert {slot.seed for slot in follow} == {1, 2}


def test_the_card_tells_how_many_seeds_there_are(every: list[Slot], card: Card) -> None:
    assert card.seeds_told == "3 seeds"
    some = [fake(slot) for slot in every if slot.seed == 0 or slot.model == "mamba"]
    first = by_cell(some)
    unfinished = make_card(BATTERY, "smoke", every, first, candidate="hyena", about="", command="make it")
    assert unfinished.seeds_told == "1 to 3 of 3 seeds"
    assert "and 1 to 3 of 3 seeds." in card_report(unfinished, [], {}).notes[0]


def test_what_the_seeds_carry(card: Card, every: list[Slot]) -> None:
    assert card.models == ["mamba", "s4d", "hyena"]
    assert card.problems == ()
    assert card.seconds == 2 * 3 * 2.0
    copying, induction = card.lines
    assert [score.mean for score in induction.scores][:2] == [98.0, 62.0]
    assert copying.chance == 7.0
    assert induction.chance == 12.5
    assert copying.ends == (7.0, 100.0)
    assert induction.questions == "512 x 64"
    assert induction.place(98.0) == pytest.approx((98 - 12.5) / 87.5)
    report = card_report(card, [], {})
    row = report.sections[0].rows[0]
    assert row["verdict"].startswith("No difference to mamba shown (95 % interval")
    runs = by_cell(card.runs)
    behind = make_card(BATTERY, "smoke", every, runs, candidate="s4d", about="", command="")
    (first, _) = card_report(behind, [], {}).sections[0].rows
    assert first["verdict"].startswith("Behind mamba by 36.00 points (95 % interval")


def test_chance_is_on_the_scale_though_every_model_is_behind_it(card: Card) -> None:
    """It stood at the end that is best, where it is not."""
    bits = dataclasses.replace(card.lines[0].metric, name="bits_per_base", higher_is_better=False, digits=3)
    test = card.lines[0].test.model_copy(update={"perfect": None})
    scores = tuple(
        dataclasses.replace(score, values=dict.fromkeys(score.values, 7.7), low=7.7, high=7.7)
        for score in card.lines[0].scores
    )
    line = dataclasses.replace(card.lines[0], metric=bits, test=test, chance=1.982, scores=scores)
    worst, best = line.ends
    assert worst == 7.7
    assert best < 1.982
    assert 0.9 < line.place(1.982) < 1
    page = card_page(dataclasses.replace(card, lines=(line,)), [], {})
    assert "trivial predictor 1.982" in page


def test_a_card_without_the_reference_says_so(every: list[Slot]) -> None:
    runs = by_cell([fake(slot) for slot in every if slot.model == "hyena"])
    found = make_card(BATTERY, "smoke", every, runs, candidate="hyena", about="", command="")
    assert found.problems == (
        "mamba, which models are compared with, has no finished run at scale=smoke: "
        "`seqsuite scorecard model=mamba --scale smoke` runs it.",
    )
    assert "hyena and mamba" not in markdown(card_report(found, [], {}))


def test_what_has_not_run_is_said(every: list[Slot]) -> None:
    runs = by_cell([fake(slot) for slot in every if slot.model != "hyena"])
    found = make_card(BATTERY, "smoke", every, runs, candidate="hyena", about="", command="")
    assert found.problems == (
        "Copying: hyena has no finished run.",
        "Induction: hyena has no finished run.",
    )
    assert found.models == ["mamba", "s4d"]


def test_a_preset_under_its_own_name_and_a_departure_under_another() -> None:
    assert labels(BATTERY, ["model=mamba", "model.mixer=s6,s4d"]) == ["mamba", "mamba + mixer=s4d"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["task=dna", "model=mamba"], "task is the same in all scorecards"),
        (["model=mamba", "train.learning_rate=1"], "train.learning_rate is the same"),
        (["run.device=cpu"], "Which model"),
        (["model=mambo"], "Unknown model 'mambo'"),
    ],
)
def test_what_a_card_does_not_take(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        slots(BATTERY, "smoke", settings)


def test_the_battery_names_sets_that_its_tasks_have() -> None:
    battery = read_battery()
    for scale in battery.scales:
        for slot in slots(battery, scale, ["model=mamba"]):
            if slot.model == "mamba" and slot.seed == 0:
                task = slot.cell.make_task()
                assert slot.test.metric in {metric.name for metric in task.metrics}
                if scale in slot.test.sets:
                    assert slot.test.sets[scale] in {which.name for which in task.eval_sets("test")}


def test_the_picture_is_the_same_each_time(card: Card, tmp_path: Path) -> None:
    first, second = (
        draw_card(card, PictureFile(tmp_path / name)).read_bytes() for name in ("a.svg", "b.svg")
    )
    assert first == second


def test_the_picture_has_every_score_in_sight(card: Card) -> None:
    panels = [axes for axes in card_figure(card).axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [line.test.title for line in card.lines]
    for axes, line in zip(panels, card.lines, strict=True):
        low, high = sorted(axes.get_xlim())
        worst, best = sorted(line.ends)
        assert low < worst < best < high
        assert high - low < 1.2 * (best - worst)
        top, bottom = sorted(axes.get_ylim())
        assert top < 0
        assert bottom > len(card.models) - 1


def test_long_names_are_wrapped_and_have_room_beside_the_titles(card: Card) -> None:
    def renamed(name: str) -> Card:
        lines = [
            dataclasses.replace(
                line,
                test=line.test.model_copy(update={"title": "Induction at eight times the length"}),
                scores=tuple(
                    dataclasses.replace(score, model=name) if score.model == "hyena" else score
                    for score in line.scores
                ),
            )
            for line in card.lines
        ]
        return dataclasses.replace(card, candidate=name, lines=(*lines, *lines))

    for name in ("mamba + mixer=gated_ema", "gated_deltanet + mixer.negative_eigenvalues=true"):
        figure = card_figure(renamed(name))
        figure.draw_without_rendering()
        for axes in figure.axes[:3]:
            assert axes.get_yticklabels()[-1].get_text().split("\n") == name.replace("+ ", "+|").split("|")
            title, panel = axes._left_title.get_window_extent(), axes.get_window_extent()
            assert title.x1 < panel.x1
            labels = [label.get_window_extent() for label in axes.get_yticklabels()]
            assert all(lower.y1 < upper.y0 for upper, lower in pairwise(labels))


def test_a_model_looks_the_same_in_all_of_the_page_and_in_the_picture(
    card: Card, costs: list[ModelCost]
) -> None:
    page = card_page(card, costs, {})
    lanes = re.findall(r'class="name">([^<]*)</span>.*?<path class="([^"]*)" d="M0.0 0.0([^"]*)"', page)
    entries = re.findall(r'<path class="(point[^"]*)" d="M[\d.]+ [\d.]+([^"]*)"/><text [^>]*>([^<]*)<', page)
    assert {name for name, *_ in lanes} == {"mamba", "s4d", "hyena"}
    assert len(set(lanes)) == len({shape for *_, shape in lanes}) == 3
    assert len(entries) == 4 * 2
    assert {(name, kind, shape) for kind, shape, name in entries} < set(lanes)
    for axes in card_figure(card).axes[:2]:
        drawn = {line.get_ydata()[0]: line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1}
        assert list(drawn.values()) == [look.marker for look in looks(card.models)]


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1600])
def test_the_page_in_a_browser(
    open_page: Callable[..., Any], card: Card, costs: list[ModelCost], tmp_path: Path, width: int
) -> None:
    file, printed = tmp_path / "card.html", tmp_path / "card.pdf"
    file.write_text(card_page(card, costs, {"processor": "one"}), encoding="utf-8")
    page = open_page(file.as_uri(), width)
    lanes = page.locator("#induction .lane").all()
    assert [lane.locator(".name").inner_text() for lane in lanes] == ["mamba", "s4d", "hyena"]
    assert [lane.locator(".value").inner_text() for lane in lanes] == ["98.00", "62.00", "97.97"]
    assert lanes[2].get_attribute("class") == "lane candidate"
    box, mark = (lanes[1].locator(name).bounding_box() for name in (".track", ".mark"))
    centre = mark["x"] + mark["width"] / 2 - box["x"]
    assert centre / box["width"] == pytest.approx((62 - 12.5) / 87.5, abs=0.02)
    assert page.locator("#copying .verdict").inner_text().startswith("No difference to mamba shown")
    assert page.locator(".label").inner_text().startswith("scale=smoke shows only that things run")
    assert page.locator(".plots svg").count() == 4
    assert "hyena" in page.locator(".plots svg").nth(0).get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("summary").click()
    assert page.locator("details td", has_text="inductionhyena0.0010").count() == 1
    page.pdf(path=printed, prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed.read_bytes())) <= 2


def test_the_report_in_every_form(card: Card, costs: list[ModelCost]) -> None:
    found: dict[str, str] = {}
    for style in ("table", "md", "csv", "json", "latex", "html"):
        file = io.StringIO()
        write(card_report(card, costs, {}), style, file)
        found[style] = file.getvalue()
    assert all("hyena" in text for text in found.values())
    assert "98.00 ± 1.00" in found["md"]


MACHINE = {"processor": "one", "cores": "2"}


def test_a_card_is_shown_as_expected(card: Card, costs: list[ModelCost]) -> None:
    check("card.txt", in_words(card_figure(card)))
    check("card.md", markdown(card_report(card, costs, MACHINE)))
    page = card_page(card, costs, MACHINE)
    check("card.html", re.sub(r"(?s)<style>.*?</style>", "", page).replace("><", ">\n<"))
    first, *_, last = run_rows(card)
    assert (first["test"], first["model"], first["rate"], first["seed"]) == ("Copying", "mamba", "0.001", 0)
    assert (last["test"], last["score"], last["run"]) == ("Induction", "98.40", "inductionhyena0.0012")


def test_a_card_of_the_reference_and_of_nothing(every: list[Slot]) -> None:
    def made(runs: list[CellRun], candidate: str) -> Card:
        return make_card(
            BATTERY, "smoke", every, by_cell(runs), candidate=candidate, about="", command="make it"
        )

    own = made([fake(slot) for slot in every if slot.model == "mamba" and slot.seed == 0], "mamba")
    assert own.seeds_told == "1 of 3 seeds"
    assert [column.title for column in card_report(own, [], {}).sections[0].columns] == [
        "test",
        "metric",
        "mamba",
    ]
    assert card_report(own, [], {}).sections[0].rows[0]["model_0"] == "97.00"
    page = card_page(own, [], {})
    assert "<dt>compared with</dt><dd>–</dd>" in page
    assert "Filled: mamba; hollow: other models" in page
    assert 'title="1 seed, 95 % interval 97.00 to 97.00, learning rate 0.001, 1,234 parameters"' in page
    assert "<h2>cost</h2>" not in page
    nothing = made([], "hyena")
    assert (nothing.seeds_told, nothing.seconds, nothing.models) == ("0 of 3 seeds", 0.0, [])
    assert "<dt>last run</dt><dd>1970-01-01</dd>" in card_page(nothing, [], {})
    assert [axes.axison for axes in card_figure(nothing).axes] == [False] * 3


def test_of_equal_rates_the_lower_loss_then_the_lower_rate_is_taken(every: list[Slot]) -> None:
    def chosen(metrics: dict[float, dict[str, float]], higher: str = "true") -> set[float]:
        runs = []
        for slot in sweep(every):
            made = fake(slot)
            renamed = {f"best/{made.tags[schema.TAG_METRIC]}": 90.0, "validation/loss": 0.5}
            tags = {**made.tags, schema.TAG_HIGHER_IS_BETTER: higher}
            metrics_of = {**made.metrics, **renamed, **metrics[slot.rate]}
            runs.append(dataclasses.replace(made, metrics=metrics_of, tags=tags))
        return {slot.rate for slot in further_seeds(every, by_cell(runs))}

    best, loss = "best/accuracy", "validation/loss"
    assert chosen({1e-3: {}, 4e-3: {}}) == {1e-3}
    assert chosen({1e-3: {}, 4e-3: {loss: 0.4}}) == {4e-3}
    assert chosen({1e-3: {best: 91.0}, 4e-3: {loss: 0.4}}) == {1e-3}
    assert chosen({1e-3: {best: 91.0}, 4e-3: {}}, higher="false") == {4e-3}
    assert chosen({1e-3: {best: math.nan}, 4e-3: {best: 1.0}}) == {4e-3}
    assert chosen({1e-3: {loss: math.nan}, 4e-3: {loss: 9.0}}) == {4e-3}


def test_settings_of_the_run_are_those_of_all_cells() -> None:
    found = slots(BATTERY, "smoke", ["model=s4d", "train.steps=2", "run.device=cpu"])
    assert {(slot.cell.train.steps, slot.cell.run.device) for slot in found} == {(2, "cpu")}
    assert list(dict.fromkeys(slot.model for slot in found)) == ["s4d", "mamba"]
    with pytest.raises(UserError, match=r"^train\.steps is the same for all models of a card: give it one"):
        slots(BATTERY, "smoke", ["model=s4d", "train.steps=2,3"])
    with pytest.raises(UserError, match=r"^There is no scorecard at scale=gpu: choose from smoke\.$"):
        slots(BATTERY, "gpu", ["model=mamba"])
    with pytest.raises(ValueError, match="rates"):
        Battery.model_validate(BATTERY.model_dump() | {"rates": []})


def test_of_several_runs_of_a_cell_the_first_finished_one_counts(every: list[Slot]) -> None:
    run = fake(every[0])
    runs = [dataclasses.replace(run, run_id=str(place)) for place in range(3)]
    runs[0] = dataclasses.replace(runs[0], status="FAILED")
    assert by_cell(runs)(every[0].cell) is runs[1]
    elsewhere = dataclasses.replace(run, tags={**run.tags, schema.TAG_DATA: "other"})
    assert by_cell([elsewhere])(every[0].cell) is None

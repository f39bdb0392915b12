"""What the report shows of studies, of runs that are of none, and of benchmarks."""

import base64
import io
import re
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.report import Column, Report, Section
from seqsuite.results.benchmarks import QUICK, Benchmark
from seqsuite.results.filters import parse_filters
from seqsuite.results.page import report_page
from seqsuite.results.samples import Sample
from seqsuite.results.studies import Study
from seqsuite.results.studies.study import Bench, Picture
from seqsuite.results.table import SMOKE

from .copying import STUDY, Runs, run, runs
from .drawn import check

TIMED = Study.model_validate(
    {
        "title": "Speed",
        "source": "A paper, Figure 8",
        "benches": {"cpu": [{"what": "scan", "sweep": True}, {"what": "conv"}], "smoke": [{"what": "host"}]},
    }
)
SCAN = Benchmark(
    "scan",
    Report(
        "seqsuite bench scan --sweep",
        {"processor": "one", "cores": "2", "PyTorch": "2"},
        [
            Section(
                "times",
                "Times",
                (Column("peer", "peer"), Column("ratio", "ratio", "ratio")),
                [{"peer": "seqsuite", "ratio": 1.0}, {"peer": "other", "ratio": 2.0}],
            )
        ],
    ),
)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the report of runs, with the one study above."""
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: ({"mine": STUDY}, ["A problem."]))

    def make(reader: Reader, *filters: str, **options: Any) -> str:
        return report_page(reader, parse_filters(filters), origin="<here>", **options)

    return make


def test_a_report_has_a_line_a_study_its_parts_and_what_is_of_none(page) -> None:
    failed = run("s4d", 5, 0.0, "FAILED")
    text = page(Runs(*runs(), run("mamba", 0, 93.0, task__length="50"), failed))
    assert "7 finished runs from &lt;here&gt;." in text
    summary = text.partition('<table id="summary">')[2].partition("</table>")[0]
    words = [re.sub(r"<[^>]*>", "|", line) for line in summary.split("<tr>")[2:]]
    assert [[word for word in line.split("|") if word] for line in words] == [
        ["mine: Copying", "cpu", "6 of 6", "✓ as in the paper"],
        ["Other runs", "cpu", "1", "–"],
    ]
    assert "A problem." in text
    assert "seqsuite reproduce mine --scale cpu" in text
    assert "Found in the paper: S6 is ahead." in text
    assert "<b>Here:</b> The order of the models is as in the paper (of 1 pair, 1 ahead)." in text
    assert 'id="mine-smoke"' not in text
    settings = text.partition("That differ")[2].partition("</details>")[0]
    assert "model.name=mamba,s4d" in settings
    assert "seed=0,1,2" in settings
    assert "task.name=selective_copying" in settings.partition("The same in all runs")[2]
    assert "run.output" not in settings
    picture = re.search(r'<img alt="mine: Copying: [^"]*" src="data:image/svg\+xml;base64,([^"]*)"', text)
    assert picture is not None
    assert b"<svg" in base64.b64decode(picture[1])
    assert "Runs were made with seqsuite 0.1.0." in text
    environment = text.partition('<section id="environment">')[2]
    assert "7 finished runs: 76 seconds of training on hardware that was not recorded." in environment
    again = page(Runs(*runs()))
    assert again == page(Runs(*runs()))  # of the same runs, the same bytes
    assert 'id="others"' not in again


def test_a_report_says_where_its_runs_are(page) -> None:
    cells = [replace(one, tags={**one.tags, schema.TAG_HARDWARE: "one <core>"}) for one in runs()]
    cells[0] = replace(cells[0], metrics={**cells[0].metrics, schema.TRAIN_SECONDS: 3 * 3600.0})
    text = page(Runs(*cells), pages="https://host/#/experiments/3/runs/")
    assert '<a href="https://host/#/experiments/3/runs">in MLflow</a>' in text
    linked = re.search(r'<tr><td><a href="https://host/#/experiments/3/runs/([^"]*)">(.*?)</tr>', text)
    assert linked is not None
    assert linked[1] == "mamba-0-FINISHED"
    assert '<td class="number">3.0 hours</td><td>one &lt;core&gt;</td>' in linked[2]
    assert text.count("6 finished runs: 3.0 hours of training on one &lt;core&gt;.") == 2
    here = page(Runs(*cells), browse="seqsuite ui")
    assert "<code>seqsuite ui</code> shows them in MLflow." in here
    assert "<a href=" not in here.replace('<a href="#', "")


def test_the_smallest_scale_is_no_evidence(page) -> None:
    text = page(Runs(*runs(scale="smoke")))
    part = text.partition('<section id="mine-smoke">')[2].partition("</section>")[0]
    assert f'<p class="label">{SMOKE}</p>' in part
    assert "<b>Here:</b> Nothing is shown: scale=smoke says only that things run." in part
    assert "smoke only" in text.partition("</table>")[0]


def test_studies_are_in_their_order_and_benchmarks_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = TIMED.model_copy(
        update={"title": "Quick", "benches": {"smoke": [Bench(what="conv", quick=True)]}}
    )
    studies = {"timed": TIMED, "mine": STUDY, "quick": quick}
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: (studies, []))
    conv = Benchmark("conv", replace(SCAN.report, command="seqsuite bench conv --quick"))
    other = run("mamba", 0, 93.0, task__length="50")
    text = report_page(Runs(*runs(), other), [], origin="here", benchmarks=[conv, SCAN])
    anchors = re.findall(r'<section id="([^"]*)">', text)
    assert anchors == ["timed-cpu", "mine-cpu", "quick-smoke", "others", "environment"]
    labels = re.findall(r'<section id="([^"]*)"><h2>[^<]*</h2><p class="label">([^<]*)</p>', text)
    assert labels == [("quick-smoke", QUICK)]


def test_a_report_shows_only_what_filters_leave(page) -> None:
    text = page(Runs(*runs()), "model=mamba")
    assert "3 finished runs" in text
    assert ">3 of 6<" in text
    with pytest.raises(UserError, match=r"^No cell has model=transformer; there is model=mamba, "):
        page(Runs(*runs()), "model=transformer")


def test_a_report_shows_the_samples_of_one_seed_a_row(page) -> None:
    asked: list[str] = []

    def samples(run_id: str) -> list[Sample]:
        asked.append(run_id)
        return [Sample("sample.txt", b"<to be> & more")] if run_id.startswith("mamba") else []

    text = page(Runs(*runs()), samples=samples)
    assert len(asked) == 2
    assert "<pre>&lt;to be&gt; &amp; more</pre>" in text


def test_a_report_is_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = STUDY.model_copy(update={"figures": (Picture(x="task.length"),), "pivot": None})
    studies = {"mine": STUDY, "drawn": drawn, "timed": TIMED}
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: (studies, ["A <problem>."]))
    monkeypatch.setattr("seqsuite.results.page_parts.svg_bytes", lambda figure: b"picture")
    other = [run("mamba", seed, 93.0, task__length="50") for seed in range(2)]
    reader = Runs(*runs(), *other, run("s4d", 5, 0.0, "FAILED"))
    text = report_page(
        reader,
        [],
        origin="<here>",
        samples=lambda run_id: [Sample("sample.txt", run_id.encode())] if "mamba" in run_id else [],
        benchmarks=[SCAN],
    )
    text = re.sub(r"<style>.*?</style>|<p>This page: .*?</p>", "", text, flags=re.DOTALL)
    check("report.html", text.replace("><", ">\n<"))
    alone = report_page(None, [], origin="here", benchmarks=[SCAN, SCAN])
    assert '<p class="soft">2 benchmarks from here.</p>' in alone
    assert "timed: Speed</a></td>" in alone
    single = report_page(Runs(run("mamba", 7, 90.0, task__length="50")), [], origin="here")
    assert '<p class="soft">1 finished run from here.</p>' in single
    with pytest.raises(UserError):
        report_page(Runs(run("s4d", 5, 0.0, "FAILED")), [], origin="here")


def sound(seconds: float) -> bytes:
    """Return a silent WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(2 * int(8000 * seconds)))
    return file.getvalue()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_the_report_in_a_browser(
    open_page: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    studies = {"anunbreakablyverylongname": STUDY}
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: (studies, []))
    other = run("mamba", 0, 93.0, task__length="50")
    text = report_page(
        Runs(*runs((80.0, 85.0, 84.0), (95.0, 97.0, 96.0)), other),
        [],
        origin="here",
        samples=lambda run_id: [Sample("sample.wav", sound(0.5))] if "mamba" in run_id else [],
    )
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    page = open_page(file.as_uri(), width, scheme)
    lines = page.locator("#summary tbody tr")
    assert lines.nth(0).locator("td").all_inner_texts()[1:] == ["cpu", "6 of 6", "✗ not as in the paper"]
    assert page.locator("#summary thead th").count() == 4
    for cell in page.locator("#summary th, #summary td").all():
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= width
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    part = page.locator("#anunbreakablyverylongname-cpu")
    lines.nth(0).locator("a").click()
    assert page.url.endswith("#anunbreakablyverylongname-cpu")
    assert part.locator("table").nth(0).locator("td").all_inner_texts() == [
        *("mamba", "83.00 (80.87 to 84.78)"),
        *("s4d", "96.00 (95.22 to 96.78)"),
    ]
    assert part.locator(".figure img").nth(0).evaluate("image => image.naturalWidth") > 0
    part.locator("summary", has_text="Samples").click()
    audio = part.locator("audio")
    assert (audio.count(), audio.is_visible()) == (1, True)
    seconds = audio.evaluate("""audio => new Promise((resolve, reject) => {
        if (audio.readyState > 0) resolve(audio.duration);
        audio.onloadedmetadata = () => resolve(audio.duration);
        audio.onerror = reject;
    })""")
    assert seconds == pytest.approx(0.5)

    light, black = "rgb(255, 255, 255)", "rgb(0, 0, 0)"
    background = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(background) == light) == (scheme == "light")
    page.emulate_media(media="print")
    assert page.evaluate(background) == light
    assert page.evaluate("getComputedStyle(document.body).color") == black
    assert not page.locator("audio").nth(0).is_visible()
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

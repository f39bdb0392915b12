"""Of a study's runs: which exist, whether the found order holds, and what the report shows of them."""

import base64
import re
from dataclasses import replace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun, flatten
from seqsuite.report import Column, Section
from seqsuite.report import Report as TableReport
from seqsuite.results.benchmarks import Benchmark
from seqsuite.results.collect import collect
from seqsuite.results.filters import parse_filters
from seqsuite.results.page import report_page
from seqsuite.results.samples import Sample
from seqsuite.results.studies import Study
from seqsuite.results.studies.outcome import order_table, study_report
from seqsuite.results.studies.plan import StudyReader, standing, study_cells
from seqsuite.results.studies.study import Expected, Picture
from seqsuite.results.studies.verdict import compared, mark

from .drawn import check

STUDY = Study.model_validate(
    {
        "title": "Copying",
        "source": "A paper, Table 1",
        "finding": "S6 is ahead.",
        "grids": {
            "cpu": ["task=selective_copying model=mamba,s4d seed=0..2"],
            "smoke": ["task=selective_copying model=mamba,s4d"],
        },
        "pivot": {"rows": "model"},
        "expected": [
            {
                "task": "selective_copying",
                "better": {"model.mixer": "s6"},
                "worse": {"model.mixer": ["s4", "s4d"]},
                "within": ["task.length"],
            }
        ],
    }
)
MAMBA, S4D = (95.0, 97.0, 96.0), (80.0, 85.0, 84.0)


def run(model: str, seed: int, accuracy: float, status: str = "FINISHED", **settings: str) -> CellRun:
    keys = {"task": "selective_copying", "model": model, "seed": str(seed), **settings}
    config = resolve({key.replace("__", "."): value for key, value in keys.items()})
    metrics = {"test/accuracy": accuracy, schema.TRAIN_SECONDS: 10.0 + seed, "baseline/accuracy": 7.14}
    return CellRun(
        run_id="-".join([model, str(seed), status, *settings.values()]),
        name=config.title,
        status=status,
        params=flatten(config.model_dump(mode="json")),
        metrics=metrics if status == "FINISHED" else {},
        tags={
            schema.TAG_KIND: "cell",
            schema.TAG_CELL: config.cell_id(""),
            schema.TAG_GROUP: config.group_id(""),
            schema.TAG_TASK: "selective_copying",
            schema.TAG_MODEL: model,
            schema.TAG_SCALE: config.scale,
            schema.TAG_SEED: str(seed),
            schema.TAG_METRIC: "accuracy",
            schema.TAG_METRIC_UNIT: "%",
            schema.TAG_HIGHER_IS_BETTER: "true",
            schema.TAG_BASELINE: "chance",
            schema.TAG_VERSION: "0.1.0",
        },
        start_time=float(seed),
    )


class Runs:
    """A reader of given runs."""

    experiment = "tests"

    def __init__(self, *runs: CellRun) -> None:
        self._runs = list(runs)

    def cells(self) -> list[CellRun]:
        return self._runs

    def get(self, run_id: str) -> CellRun:
        return next(run for run in self._runs if run.run_id == run_id)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return [(1, 30.0), (2, 60.0)] if metric == "validation/accuracy" else []


def runs(mamba: tuple[float, ...] = MAMBA, s4d: tuple[float, ...] = S4D, **settings: str) -> list[CellRun]:
    scores = {"mamba": mamba, "s4d": s4d}
    return [
        run(model, seed, score, **settings)
        for model, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]


def verdict(*cells: CellRun, scale: str = "cpu", study: Study = STUDY) -> str:
    return mark(study, scale, compared(study, collect(Runs(*cells))))


def test_an_order_holds_only_where_all_intervals_say_so() -> None:
    assert verdict(*runs()) == "as in the paper"
    assert verdict(*runs(S4D, MAMBA)) == "not as in the paper"
    assert verdict(*runs(mamba=(95.0, 60.0, 96.0))) == "seeds disagree"
    assert verdict(*runs((95.0, 96.0), (80.0, 81.0))) == "not enough seeds"
    further = STUDY.expected[0].model_copy(update={"worse": {"model": "hyena"}})
    both = STUDY.model_copy(update={"expected": (*STUDY.expected, further)})
    assert verdict(*runs(), study=both) == "not all runs"
    assert verdict(*runs(S4D, MAMBA), study=both) == "not as in the paper"
    grid = ["task=selective_copying model=mamba model.mixer=s6,s4,s4d seed=0..2"]
    assert verdict(*runs(), study=STUDY.model_copy(update={"grids": {"cpu": grid}})) == "not all runs"
    assert verdict(*runs(), scale="smoke") == "smoke only"
    assert verdict(*runs(), study=STUDY.model_copy(update={"expected": ()})) == "–"


def test_rows_are_compared_only_where_the_rest_is_the_same() -> None:
    other = [run("s4d", seed, score, task__length="128") for seed, score in enumerate(S4D)]
    only_mamba = [cell for cell in runs() if cell.params["model.name"] == "mamba"]
    assert verdict(*only_mamba, *other) == "no runs"
    assert not compared(STUDY, collect(Runs(*only_mamba)))
    (pair,) = compared(STUDY, collect(Runs(*runs())))
    assert (pair.better.model, pair.worse.model, pair.metric) == ("mamba", "s4d", "accuracy")
    assert pair.difference.mean == pytest.approx(13.0)
    assert pair.difference.seeds == 3
    assert pair.difference.verdict == "ahead"


def test_runs_are_in_the_order_of_a_setting_though_it_makes_other_tests() -> None:
    """Longer contexts are to be ahead of shorter ones, each on windows of its own length."""
    mamba = {"model": "mamba"}
    longer = Expected(task="selective_copying", better=mamba, worse=mamba, larger="task.length")
    study = STUDY.model_copy(update={"expected": [longer]})
    cells = [
        run("mamba", seed, score, task__length=length)
        for length, scores in (("96", (90.0, 91.0, 92.0)), ("768", (95.0, 96.0, 97.0)), ("1024", MAMBA))
        for seed, score in enumerate(scores)
    ]
    found = collect(Runs(*cells))
    pairs = compared(study, found)
    order = {row["at"]: row["verdict"] for row in order_table(pairs).rows}
    assert order == {
        "length=768 over 96": "ahead",
        "length=1024 over 96": "ahead",
        "length=1024 over 768": "open",
    }
    assert mark(study, "cpu", pairs) == "seeds disagree"


def test_what_of_a_study_exists() -> None:
    cells = study_cells("mine", STUDY, "cpu")
    assert [(cell.model.name, cell.seed) for cell in cells] == [
        (model, seed) for model in ("mamba", "s4d") for seed in range(3)
    ]
    assert standing(cells, []).finished == 0
    found = standing(
        cells,
        [
            run("mamba", 0, 0.0, "FAILED"),  # newer than the finished one, and undoes nothing
            run("mamba", 0, 95.0),
            run("mamba", 0, 94.0),  # of those that are finished, the newest
            run("mamba", 1, 0.0, "KILLED"),
            run("s4d", 2, 80.0),
            run("s4d", 0, 80.0, task__length="50"),  # another cell
        ],
    )
    assert (found.cells, found.finished) == (6, 2)
    assert dict(found.statuses) == {"FINISHED": 2, "KILLED": 1}
    assert found.seconds == 10.0 + 12.0
    assert found.steps == sum(cell.train.steps for cell in cells)


def test_settings_over_a_studys_grid_make_its_cells_others() -> None:
    shorter = study_cells("mine", STUDY, "smoke", ["train.steps=3,4"])
    assert sorted((cell.model.name, cell.train.steps) for cell in shorter) == [
        (model, steps) for model in ("mamba", "s4d") for steps in (3, 4)
    ]
    with pytest.raises(UserError, match=r"no grid at scale=gpu: it has cpu, smoke"):
        study_cells("mine", STUDY, "gpu")
    with pytest.raises(UserError, match="by --scale"):
        study_cells("mine", STUDY, "cpu", ["scale=gpu"])
    with pytest.raises(UserError, match="only published numbers"):
        study_cells("mine", STUDY.model_copy(update={"grids": {}}), "cpu")


def test_a_studys_reader_reads_its_cells_and_no_others() -> None:
    every = [*runs(), run("s4d", 0, 80.0, task__length="50")]
    reader = StudyReader(Runs(*every), study_cells("mine", STUDY, "cpu"))
    assert reader.cells() == every[:-1]
    assert reader.get("mamba-1-FINISHED") == every[1]
    assert reader.history("mamba-1-FINISHED", "validation/accuracy") == [(1, 30.0), (2, 60.0)]


def test_a_studys_report_has_its_table_all_rows_and_the_order() -> None:
    reader = Runs(*runs())
    made = study_report("mine", STUDY, "cpu", reader, collect(reader), "seqsuite reproduce mine")
    assert made.sections[0].kind == "pivot"
    order = made.sections[-1]
    (row,) = order.rows
    assert (order.kind, row["mean"], row["seeds"], row["verdict"]) == (
        "order",
        pytest.approx(13.0),
        3,
        "ahead",
    )
    assert row["low"] <= row["mean"] <= row["high"]
    assert list(made.notes)[:2] == ["mine at scale=cpu: as in the paper.", "Found in the paper: S6 is ahead."]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the report of runs, with the one study above."""
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: ({"mine": STUDY}, ["A problem."]))

    def make(reader: Reader, *filters: str, sample=None) -> str:
        return report_page(reader, parse_filters(filters), origin="<here>", sample=sample)

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
    assert "Found: S6 is ahead." in text
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
    again = page(Runs(*runs()))
    assert again == page(Runs(*runs()))  # of the same runs, the same bytes
    assert 'id="others"' not in again


def test_a_report_shows_only_what_filters_leave(page) -> None:
    text = page(Runs(*runs()), "model=mamba")
    assert "3 finished runs" in text
    assert ">3 of 6<" in text
    with pytest.raises(UserError):
        page(Runs(*runs()), "model=transformer")


def test_a_report_shows_one_sample_a_row(page) -> None:
    asked: list[str] = []

    def sample(run_id: str) -> Sample | None:
        asked.append(run_id)
        return Sample("sample.txt", b"<to be> & more") if run_id.startswith("mamba") else None

    text = page(Runs(*runs()), sample=sample)
    assert len(asked) == 2
    assert "<pre>&lt;to be&gt; &amp; more</pre>" in text


def test_samples_are_parts_of_a_page_or_left_with_their_run() -> None:
    sound = Sample("sample.wav", b"RIFF").html()
    assert 'src="data:audio/wav;base64,UklGRg=="' in sound
    assert Sample("sample.wav", bytes(2_000_000)).html().startswith("<audio")
    assert Sample("sample.wav", bytes(2_500_000)).html() == "<p>sample.wav: 2.5 MB, left with its run.</p>"
    assert Sample("sample.FASTA", b">a\nACGT").html() == "<pre>&gt;a\nACGT</pre>"
    assert Sample("sample.txt", b"a" * 2000).html() == f"<pre>{'a' * 2000}</pre>"
    assert Sample("sample.txt", b"a" * 2001).html() == f"<pre>{'a' * 2000}…</pre>"
    assert Sample("sample.mid", b"x").html() == "<p>sample.mid: left with its run.</p>"
    assert replace(Sample("sample.txt", b"\xff"), name="sample.fa").html() == "<pre>\ufffd</pre>"


def test_a_report_is_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = STUDY.model_copy(update={"figures": (Picture(x="task.length"),), "pivot": None})
    timed = Study.model_validate({
        "title": "Speed",
        "source": "A paper, Figure 8",
        "benches": {"cpu": [{"what": "scan", "sweep": True}, {"what": "conv"}], "smoke": [{"what": "host"}]},
    })  # fmt: skip
    studies = {"mine": STUDY, "drawn": drawn, "timed": timed}
    monkeypatch.setattr("seqsuite.results.page.load_studies", lambda: (studies, ["A <problem>."]))
    monkeypatch.setattr("seqsuite.results.page.svg_bytes", lambda figure: b"picture")
    times = [{"peer": "seqsuite", "ratio": 1.0}, {"peer": "other", "ratio": 2.0}]
    table = Section("times", "Times", (Column("peer", "peer"), Column("ratio", "ratio", "ratio")), times)
    machine = {"processor": "one", "cores": "2", "PyTorch": "2"}
    scan = Benchmark("scan", TableReport("seqsuite bench scan --sweep", machine, [table]))
    other = [run("mamba", seed, 93.0, task__length="50") for seed in range(2)]
    reader = Runs(*runs(), *other, run("s4d", 5, 0.0, "FAILED"))
    text = report_page(
        reader,
        [],
        origin="<here>",
        sample=lambda run_id: Sample("sample.txt", run_id.encode()) if run_id.startswith("mamba") else None,
        benchmarks=[scan],
    )
    text = re.sub(r"<style>.*?</style>|<p>This page: .*?</p>", "", text, flags=re.DOTALL)
    check("report.html", text.replace("><", ">\n<"))
    alone = report_page(None, [], origin="here", benchmarks=[scan, scan])
    assert '<p class="soft">2 benchmarks from here.</p>' in alone
    assert "timed: Speed</a></td>" in alone
    single = report_page(Runs(run("mamba", 7, 90.0, task__length="50")), [], origin="here")
    assert '<p class="soft">1 finished run from here.</p>' in single
    with pytest.raises(UserError):
        report_page(Runs(run("s4d", 5, 0.0, "FAILED")), [], origin="here")

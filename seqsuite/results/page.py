"""The report: one HTML page of all studies and results, which needs neither network nor other files."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import section_with_intervals
from seqsuite.results.benchmark_figure import benchmark_figure
from seqsuite.results.benchmarks import QUICK, Benchmark, is_quick
from seqsuite.results.collect import collect
from seqsuite.results.figures import comparison
from seqsuite.results.filters import Filter
from seqsuite.results.formats import results_report
from seqsuite.results.growth_tables import with_growth_tables
from seqsuite.results.page_parts import (
    ReadSamples,
    environment,
    finished,
    picture,
    runs_of,
    samples_of,
    settings_of,
    tables,
    trained,
)
from seqsuite.results.selection import SelectedReader
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.outcome import order_table, study_laws, study_tables
from seqsuite.results.studies.pictures import study_figure
from seqsuite.results.studies.plan import standing, study_benchmarks, study_cells, study_reader
from seqsuite.results.studies.verdict import Mark, compared, mark, shown
from seqsuite.results.table import SMOKE, Results
from seqsuite.wording import counted

_SIGNS: dict[Mark, str] = {
    "as in the paper": "✓",
    "not as in the paper": "✗",
    "not enough seeds": "?",
    "seeds disagree": "?",
    "not all runs": "?",
    "no pair to compare yet": "?",
}


@dataclass(frozen=True)
class Part:
    """A study at a scale, or runs that are of no study.

    Attributes:
        anchor: Its place in the page.
        title: What it is about.
        scale: The scale.
        label: What keeps it from being taken for evidence, if anything.
        about: Sentences on it.
        found: What it shows, or does not.
        command: What to type for it.
        done: How much of it there is.
        mark: Whether the order of the models is the paper's.
        body: Its tables, pictures and settings, as HTML.
        runs: The runs in it.
    """

    anchor: str
    title: str
    scale: str
    label: str
    about: Sequence[str]
    found: str
    command: str
    done: str
    mark: Mark
    body: str
    runs: Sequence[CellRun] = ()


@dataclass(frozen=True)
class _Source:
    """Where a part's content is from: runs, what they generated, and where their pages are."""

    reader: Reader
    samples: ReadSamples | None
    pages: str

    def of(self, reader: Reader) -> "_Source":
        """Return the same for some of the runs."""
        return replace(self, reader=reader)

    def details(self, results: Results) -> str:
        """Return the settings, the runs, and what they generated."""
        runs = self.reader.cells()
        generated = samples_of(results, self.samples) if self.samples else ""
        return settings_of(runs) + runs_of(runs, self.pages) + generated


def report_page(
    reader: Reader | None,
    filters: Sequence[Filter],
    *,
    origin: str,
    samples: ReadSamples | None = None,
    pages: str = "",
    browse: str = "",
    benchmarks: Sequence[Benchmark] = (),
) -> str:
    """Return the page.

    Args:
        reader: Where runs are read; ``None`` for a page of benchmarks alone.
        filters: Conditions on settings that runs must meet.
        origin: Where the runs are from, for people.
        samples: Gives what models generated; without it the page has no samples.
        pages: Address of the runs' pages in MLflow, which an id completes, where a server has them.
        browse: The command that shows the runs in MLflow, where it takes one.
        benchmarks: What the studies of benchmarks are shown by.

    Raises:
        UserError: if no run is finished.
    """
    studies, problems = load_studies()
    parts: list[Part] = []
    cells: list[CellRun] = []
    told = [counted(len(benchmarks), "benchmark")] if benchmarks else []
    source = None
    if reader is not None:
        everything = collect(reader, filters=filters)
        source = _Source(SelectedReader(reader, filters), samples, pages)
        cells = source.reader.cells()
        told.insert(0, counted(_finished(everything), "finished run"))
    for name, study in studies.items():
        parts += _study_parts(name, study, source) if source else []
        parts += _benchmark_parts(name, study, benchmarks)
    parts += _others(source, parts) if source else []
    body = [
        "<h1>seqsuite: what was run, beside the papers</h1>",
        f'<p class="soft">{" and ".join(told)} from {escape(origin)}.{_in_mlflow(pages, browse)}</p>',
        _summary(parts),
        *(f'<p class="notes">{escape(problem)}</p>' for problem in problems),
        *map(_part, parts),
        environment(cells),
    ]
    style = (files("seqsuite.results") / "page_style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>seqsuite report</title><style>{style}</style></head>\n'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _in_mlflow(pages: str, browse: str) -> str:
    """Return where the runs are in MLflow, with their curves and files."""
    if pages:
        return f' They are <a href="{escape(pages.removesuffix("/"))}">in MLflow</a>, each linked below.'
    return f" <code>{escape(browse)}</code> shows them in MLflow." if browse else ""


def _study_parts(name: str, study: Study, source: _Source) -> Iterable[Part]:
    """Yield the scales of a study that have a finished run."""
    runs = source.reader.cells()
    for scale in study.grids:
        try:
            cells = study_cells(name, study, scale)
        except UserError:  # a task of a plug-in that is not installed has no runs to show
            continue
        stands = standing(cells, runs)
        if not stands.finished:
            continue
        ours = study_reader(study, source.reader, cells)
        title, results = f"{name}: {study.title}", collect(ours, study=study)
        pairs = compared(study, results)
        details = [*([order_table(pairs)] if pairs else []), *results_report(results).sections]
        learned = picture(comparison(ours, results), f"{title}: learning curves and test scores")
        body = [
            tables([*map(section_with_intervals, study_tables(study, ours)), *study_laws(study, ours)]),
            *([picture(study_figure(study, ours, results), title)] if study.figures else [learned]),
            f"<details><summary>All rows, and the published numbers</summary>{tables(details)}</details>",
            f"<details><summary>How each model learned</summary>{learned}</details>" if study.figures else "",
            source.of(ours).details(results),
        ]
        yield Part(
            anchor=f"{name}-{scale}",
            title=title,
            scale=scale,
            label=SMOKE if scale == "smoke" else "",
            about=_about(study),
            found=shown(study, scale, pairs),
            command=_reproduce(name, scale),
            done=f"{stands.finished} of {stands.cells}",
            mark=mark(study, scale, pairs),
            body="".join(body),
            runs=ours.cells(),
        )


def _others(source: _Source, parts: Sequence[Part]) -> Iterable[Part]:
    """Yield the finished runs that are in no study, together."""
    known = {run.run_id for part in parts for run in part.runs}
    rest = SelectedReader(source.reader, (), without=known)
    if not finished(rest.cells()):
        return
    results = collect(rest)
    scales = sorted({section.scale for section in results.sections})
    body = [
        tables(results_report(results).sections),
        picture(comparison(rest, results), "Other runs: learning curves and test scores"),
        source.of(rest).details(results),
    ]
    yield Part(
        anchor="others",
        title="Other runs",
        scale=", ".join(scales),
        label=SMOKE if scales == ["smoke"] else "",
        about=[],
        found="",
        command="seqsuite results",
        done=str(_finished(results)),
        mark="–",
        body="".join(body),
        runs=rest.cells(),
    )


def _benchmark_parts(name: str, study: Study, benchmarks: Sequence[Benchmark]) -> Iterable[Part]:
    """Yield the scales of a study of benchmarks of which one was run."""
    for scale in study.benches:
        found = study_benchmarks(study, scale, benchmarks)
        if not found:
            continue
        reports = [benchmark.report for benchmark in found]
        machines = dict.fromkeys(
            "; ".join(f"{key}: {value}" for key, value in one.machine.items()) for one in reports
        )
        body = [
            picture(benchmark_figure(reports), study.title),
            *(tables(with_growth_tables(one).sections) for one in reports),
            *(f'<p class="notes">{escape(machine)}</p>' for machine in machines),
        ]
        yield Part(
            anchor=f"{name}-{scale}",
            title=f"{name}: {study.title}",
            scale=scale,
            label=QUICK if any(map(is_quick, reports)) else "",
            about=_about(study),
            found="",
            command=_reproduce(name, scale),
            done=f"{len(found)} of {len(study.benches[scale])}",
            mark="–",
            body="".join(body),
        )


def _reproduce(name: str, scale: str) -> str:
    return shlex.join(["seqsuite", "reproduce", name, "--scale", scale])


def _about(study: Study) -> list[str]:
    found = [f"Found in the paper: {study.finding}"] if study.finding else []
    return [text for text in (study.source, study.question, *found) if text]


def _summary(parts: Sequence[Part]) -> str:
    """Return the first screen: a line a study."""
    lines = []
    for part in parts:
        sign = _SIGNS.get(part.mark, "")
        lines.append(
            f'<tr><td class="words"><a href="#{part.anchor}">{escape(part.title)}</a></td>'
            f'<td class="words">{escape(part.scale)}</td><td class="number">{escape(part.done)}</td>'
            f'<td class="mark">{escape(f"{sign} {part.mark}".strip())}</td></tr>'
        )
    return (
        '<div class="wide"><table id="summary"><thead><tr><th>study</th><th>scale</th>'
        '<th class="number">finished</th><th>order of the models</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="notes">✓ as in the paper: every expected difference, paired by seed, has a 95 % bootstrap '
        "interval above zero. ✗: some interval is below zero. ?: the seeds carry no order, or runs are "
        "missing. Scale smoke shows only that things run.</p>"
    )


def _finished(results: Results) -> int:
    return sum(len(row.run_ids) for section in results.sections for row in section.rows)


def _part(part: Part) -> str:
    scale = "" if part.anchor == "others" else f", scale={part.scale}"
    return "".join(
        [
            f'<section id="{part.anchor}"><h2>{escape(part.title + scale)}</h2>',
            f'<p class="label">{escape(part.label)}</p>' if part.label else "",
            *(f'<p class="soft">{escape(text)}</p>' for text in part.about),
            f"<p><b>Here:</b> {escape(part.found)}</p>" if part.found else "",
            f"<pre>{escape(part.command)}</pre>",
            *(f'<p class="soft">{escape(text)}</p>' for text in trained(part.runs)),
            f"{part.body}</section>",
        ]
    )

"""The report: one HTML page of all studies and results, which needs neither network nor other files."""

import base64
import platform
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files

from matplotlib.figure import Figure

from seqsuite import report
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.markup import html_section
from seqsuite.report.pictures import svg_bytes
from seqsuite.results.benchmark_figure import benchmark_figure
from seqsuite.results.benchmarks import Benchmark
from seqsuite.results.collect import collect
from seqsuite.results.figures import comparison
from seqsuite.results.filters import Filter
from seqsuite.results.formats import results_report
from seqsuite.results.samples import Sample
from seqsuite.results.selection import SelectedReader
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.outcome import order_table, study_laws, study_tables
from seqsuite.results.studies.pictures import study_figure
from seqsuite.results.studies.plan import standing, study_benchmarks, study_cells, study_reader
from seqsuite.results.studies.verdict import Mark, compared, mark
from seqsuite.results.table import Results
from seqsuite.wording import counted

_SIGNS: dict[Mark, str] = {
    "as in the paper": "✓",
    "not as in the paper": "✗",
    "not enough seeds": "?",
    "seeds disagree": "?",
    "not all runs": "?",
}
_LIBRARIES = ("torch", "numpy", "mlflow-skinny", "matplotlib")

ReadSamples = Callable[[str], Sequence[Sample]]
"""Gives the files of what a run's model generated, by the run's id."""


@dataclass(frozen=True)
class Part:
    """A study at a scale, or runs that are of no study.

    Attributes:
        anchor: Its place in the page.
        title: What it is about.
        scale: The scale.
        about: Sentences on it.
        command: What to type for it.
        done: How much of it there is.
        mark: Whether the order of the models is the paper's.
        body: Its tables, pictures and settings, as HTML.
        shown: Ids of the runs in it.
    """

    anchor: str
    title: str
    scale: str
    about: Sequence[str]
    command: str
    done: str
    mark: Mark
    body: str
    shown: Collection[str] = ()


def report_page(
    reader: Reader | None,
    filters: Sequence[Filter],
    *,
    origin: str,
    samples: ReadSamples | None = None,
    benchmarks: Sequence[Benchmark] = (),
) -> str:
    """Return the page.

    Args:
        reader: Where runs are read; ``None`` for a page of benchmarks alone.
        filters: Conditions on settings that runs must meet.
        origin: Where the runs are from, for people.
        samples: Gives what models generated; without it the page has no samples.
        benchmarks: What the studies of benchmarks are shown by.

    Raises:
        UserError: if no run is finished.
    """
    studies, problems = load_studies()
    parts: list[Part] = []
    cells: list[CellRun] = []
    told = [counted(len(benchmarks), "benchmark")] if benchmarks else []
    if reader is not None:
        chosen = SelectedReader(reader, filters)
        everything, cells = collect(chosen), chosen.cells()
        told.insert(0, counted(_finished(everything), "finished run"))
        for name, study in studies.items():
            parts += _study_parts(name, study, chosen, samples)
        parts += _others(chosen, parts, filters, samples)
    for name, study in studies.items():
        parts += _benchmark_parts(name, study, benchmarks)
    body = [
        "<h1>seqsuite: what was run, beside the papers</h1>",
        f'<p class="soft">{" and ".join(told)} from {escape(origin)}.</p>',
        _summary(parts),
        *(f'<p class="notes">{escape(problem)}</p>' for problem in problems),
        *map(_part, parts),
        _environment(cells),
    ]
    style = (files("seqsuite.results") / "page_style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>seqsuite report</title><style>{style}</style></head>\n'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _study_parts(name: str, study: Study, reader: Reader, samples: ReadSamples | None) -> Iterable[Part]:
    """Yield the scales of a study that have a finished run."""
    runs = reader.cells()
    for scale in study.grids:
        try:
            cells = study_cells(name, study, scale)
        except UserError:  # a task of a plug-in that is not installed has no runs to show
            continue
        stands = standing(cells, runs)
        if not stands.finished:
            continue
        ours = study_reader(study, reader, cells)
        title, results, shown = f"{name}: {study.title}", collect(ours, study=study), ours.cells()
        pairs = compared(study, results)
        details = [*([order_table(pairs)] if pairs else []), *results_report(results).sections]
        learned = _picture(comparison(ours, results), f"{title}: learning curves and test scores")
        body = [
            _tables([*study_tables(study, ours), *study_laws(study, ours)]),
            *([_picture(study_figure(study, ours, results), title)] if study.figures else [learned]),
            f"<details><summary>All rows, and the published numbers</summary>{_tables(details)}</details>",
            f"<details><summary>How each model learned</summary>{learned}</details>" if study.figures else "",
            _settings(shown),
            _samples(results, samples) if samples else "",
        ]
        yield Part(
            anchor=f"{name}-{scale}",
            title=title,
            scale=scale,
            about=_about(study),
            command=shlex.join(["seqsuite", "reproduce", name, "--scale", scale]),
            done=f"{stands.finished} of {stands.cells}",
            mark=mark(study, scale, pairs),
            body="".join(body),
            shown={run.run_id for run in shown},
        )


def _others(
    reader: Reader, parts: Sequence[Part], filters: Sequence[Filter], samples: ReadSamples | None
) -> Iterable[Part]:
    """Yield the finished runs that are in no study, together."""
    shown = {run_id for part in parts for run_id in part.shown}
    rest = SelectedReader(reader, filters, without=shown)
    if not any(run.status == "FINISHED" for run in rest.cells()):
        return
    results = collect(rest)
    body = [
        _tables(results_report(results).sections),
        _picture(comparison(rest, results), "Other runs: learning curves and test scores"),
        _settings(rest.cells()),
        _samples(results, samples) if samples else "",
    ]
    yield Part(
        anchor="others",
        title="Other runs",
        scale=", ".join(sorted({section.scale for section in results.sections})),
        about=[],
        command="seqsuite results",
        done=str(_finished(results)),
        mark="–",
        body="".join(body),
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
            _picture(benchmark_figure(reports), study.title),
            *(_tables(one.sections) for one in reports),
            *(f'<p class="notes">{escape(machine)}</p>' for machine in machines),
        ]
        yield Part(
            anchor=f"{name}-{scale}",
            title=f"{name}: {study.title}",
            scale=scale,
            about=_about(study),
            command=shlex.join(["seqsuite", "reproduce", name, "--scale", scale]),
            done=f"{len(found)} of {len(study.benches[scale])}",
            mark="–",
            body="".join(body),
        )


def _about(study: Study) -> list[str]:
    return [study.source, study.question, *([f"Found: {study.finding}"] if study.finding else [])]


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
            *(f'<p class="soft">{escape(text)}</p>' for text in part.about if text),
            f"<pre>{escape(part.command)}</pre>{part.body}</section>",
        ]
    )


def _tables(sections: Iterable[report.Section]) -> str:
    return "".join(f'<div class="wide">{html_section(section, 3)}</div>' for section in sections)


def _picture(figure: Figure, title: str) -> str:
    """Return a figure as a picture within the page."""
    data = base64.b64encode(svg_bytes(figure)).decode()
    text = escape(f"{title}; the tables have the numbers")
    return f'<div class="figure"><img alt="{text}" src="data:image/svg+xml;base64,{data}"></div>'


def _settings(runs: Sequence[CellRun]) -> str:
    """Return the settings of runs: first those that all share, then the values of the others."""
    keys = sorted({key for run in runs for key in run.params if not key.startswith("run.")})
    values = {key: sorted({run.params[key] for run in runs if key in run.params}) for key in keys}
    shared = "\n".join(f"{key}={found[0]}" for key, found in values.items() if len(found) == 1)
    varied = "\n".join(f"{key}={','.join(found)}" for key, found in values.items() if len(found) > 1)
    return (
        "<details><summary>Settings</summary><h3>That differ</h3>"
        f"<pre>{escape(varied)}</pre><h3>The same in all runs that have them</h3><pre>{escape(shared)}</pre>"
        "</details>"
    )


def _samples(results: Results, samples: ReadSamples) -> str:
    """Return what the first seed of each row generated."""
    shown = []
    for section in results.sections:
        for row in section.rows:
            found = "".join(sample.html() for sample in samples(row.run_ids[0]))
            if found:
                shown.append(f"<h3>{escape(f'{row.label}, {section.title}')}</h3>{found}")
    if not shown:
        return ""
    return f"<details><summary>Samples</summary>{''.join(shown)}</details>"


def _environment(runs: Sequence[CellRun]) -> str:
    """Return with which versions runs were made, and this page was."""
    versions = sorted({run.tags.get("seqsuite.version", "?") for run in runs})
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        '<section id="environment"><h2>Environment</h2>'
        f"<p>Runs were made with seqsuite {escape(', '.join(versions))}.</p>"
        f"<p>This page: Python {platform.python_version()}, {escape(libraries)}; {platform.machine()}.</p>"
        "</section>"
    )

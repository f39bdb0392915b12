"""The report: one HTML page of all studies and results, which needs neither network nor other files."""

import base64
import io
import platform
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files

from seqsuite import report
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.markup import html_section
from seqsuite.results.collect import collect
from seqsuite.results.figures import comparison
from seqsuite.results.filters import Filter
from seqsuite.results.formats import results_report
from seqsuite.results.samples import Sample
from seqsuite.results.selection import SelectedReader
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.outcome import order_table, study_tables
from seqsuite.results.studies.plan import Standing, StudyReader, standing, study_cells
from seqsuite.results.studies.verdict import Mark, compared, mark
from seqsuite.results.table import Results

_SIGNS: dict[Mark, str] = {
    "as in the paper": "✓",
    "not as in the paper": "✗",
    "not enough seeds": "?",
    "seeds disagree": "?",
}
_LIBRARIES = ("torch", "numpy", "mlflow-skinny", "matplotlib")

ReadSample = Callable[[str], Sample | None]
"""Gives a run's sample by the run's id."""


@dataclass(frozen=True)
class Part:
    """A study at a scale, or runs that are of no study."""

    anchor: str
    title: str
    scale: str
    about: Sequence[str]
    command: str
    standing: Standing | None
    mark: Mark
    results: Results
    tables: Sequence[report.Section]
    details: Sequence[report.Section]
    reader: Reader


def report_page(
    reader: Reader, filters: Sequence[Filter], *, origin: str, sample: ReadSample | None = None
) -> str:
    """Return the page.

    Args:
        reader: Where runs are read.
        filters: Conditions on settings that runs must meet.
        origin: Where the runs are from, for people.
        sample: Gives what models generated; without it the page has no samples.

    Raises:
        UserError: if no run is finished.
    """
    chosen = SelectedReader(reader, filters)
    everything = collect(chosen)
    studies, problems = load_studies()
    parts = [part for name, study in studies.items() for part in _study_parts(name, study, chosen)]
    parts += _others(chosen, parts, filters)
    count = sum(len(row.run_ids) for section in everything.sections for row in section.rows)
    body = [
        "<h1>seqsuite: what was run, beside the papers</h1>",
        f'<p class="soft">{count} finished runs from {escape(origin)}.</p>',
        _summary(parts),
        *(f'<p class="notes">{escape(problem)}</p>' for problem in problems),
        *(_part(part, sample) for part in parts),
        _environment(chosen.cells()),
    ]
    style = (files("seqsuite.results") / "page_style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>seqsuite report</title><style>{style}</style></head>\n'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _study_parts(name: str, study: Study, reader: Reader) -> Iterable[Part]:
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
        ours = StudyReader(reader, cells)
        results = collect(ours)
        pairs = compared(study, results)
        yield Part(
            anchor=f"{name}-{scale}",
            title=f"{name}: {study.title}",
            scale=scale,
            about=[study.source, study.question, *([f"Found: {study.finding}"] if study.finding else [])],
            command=shlex.join(["seqsuite", "reproduce", name, "--scale", scale]),
            standing=stands,
            mark=mark(study, scale, pairs),
            results=results,
            tables=study_tables(study, ours),
            details=[*([order_table(pairs)] if pairs else []), *results_report(results).sections],
            reader=ours,
        )


def _others(reader: Reader, parts: Sequence[Part], filters: Sequence[Filter]) -> Iterable[Part]:
    """Yield the finished runs that are in no study, together."""
    shown = {run.run_id for part in parts for run in part.reader.cells()}
    rest = SelectedReader(reader, filters, without=shown)
    if not any(run.status == "FINISHED" for run in rest.cells()):
        return
    results = collect(rest)
    yield Part(
        anchor="others",
        title="Other runs",
        scale=", ".join(sorted({section.scale for section in results.sections})),
        about=[],
        command="seqsuite results",
        standing=None,
        mark="–",
        results=results,
        tables=results_report(results).sections,
        details=[],
        reader=rest,
    )


def _summary(parts: Sequence[Part]) -> str:
    """Return the first screen: a line a study."""
    lines = []
    for part in parts:
        stands = part.standing
        done = f"{stands.finished} of {stands.cells}" if stands else str(_finished(part.results))
        sign = _SIGNS.get(part.mark, "")
        lines.append(
            f'<tr><td class="words"><a href="#{part.anchor}">{escape(part.title)}</a></td>'
            f'<td class="words">{escape(part.scale)}</td><td class="number">{done}</td>'
            f'<td class="mark">{escape(f"{sign} {part.mark}".strip())}</td></tr>'
        )
    return (
        '<div class="wide"><table id="summary"><thead><tr><th>study</th><th>scale</th>'
        '<th class="number">finished</th><th>order of the models</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="notes">✓ as in the paper: every expected difference, paired by seed, has a 95 % bootstrap '
        "interval above zero. ✗: some interval is below zero. ?: the seeds carry no order. Scale smoke shows "
        "only that things run.</p>"
    )


def _finished(results: Results) -> int:
    return sum(len(row.run_ids) for section in results.sections for row in section.rows)


def _part(part: Part, sample: ReadSample | None) -> str:
    tables = "".join(f'<div class="wide">{html_section(section, 3)}</div>' for section in part.tables)
    details = "".join(f'<div class="wide">{html_section(section, 3)}</div>' for section in part.details)
    more = f"<details><summary>All rows, and the published numbers</summary>{details}</details>"
    scale = f", scale={part.scale}" if part.standing else ""
    return "".join(
        [
            f'<section id="{part.anchor}"><h2>{escape(part.title + scale)}</h2>',
            *(f'<p class="soft">{escape(text)}</p>' for text in part.about if text),
            f"<pre>{escape(part.command)}</pre>",
            tables,
            _figure(part),
            more if details else "",
            _settings(part.reader.cells()),
            _samples(part.results, sample) if sample else "",
            "</section>",
        ]
    )


def _figure(part: Part) -> str:
    """Return how models learn and what they reach, as a picture within the page."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "seqsuite", "svg.fonttype": "path"}):
        comparison(part.reader, part.results).savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    text = escape(f"{part.title}: learning curves and test scores; the tables have the numbers")
    return f'<img alt="{text}" src="data:image/svg+xml;base64,{data}">'


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


def _samples(results: Results, sample: ReadSample) -> str:
    """Return what the first seed of each row generated."""
    shown = []
    for section in results.sections:
        for row in section.rows:
            found = sample(row.run_ids[0])
            if found is not None:
                shown.append(f"<h3>{escape(f'{row.label}, {section.title}')}</h3>{found.html()}")
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

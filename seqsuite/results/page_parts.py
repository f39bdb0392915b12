"""Parts of the report's page: tables, pictures, settings, runs, samples and the environment, as HTML."""

import base64
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.metadata import version

from matplotlib.figure import Figure

from seqsuite import report
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.markup import html_section
from seqsuite.report.pictures import svg_bytes
from seqsuite.results.order import natural
from seqsuite.results.samples import Sample
from seqsuite.results.table import Results
from seqsuite.wording import counted

_LIBRARIES = ("torch", "numpy", "mlflow-skinny", "matplotlib")

ReadSamples = Callable[[str], Sequence[Sample]]
"""Gives the files of what a run's model generated, by the run's id."""


def tables(sections: Iterable[report.Section]) -> str:
    """Return tables, each of which scrolls by itself where it is too wide."""
    return "".join(f'<div class="wide">{html_section(section, 3)}</div>' for section in sections)


def picture(figure: Figure, title: str) -> str:
    """Return a figure as a picture within the page."""
    data = base64.b64encode(svg_bytes(figure)).decode()
    text = escape(f"{title}; the tables have the numbers")
    return f'<div class="figure"><img alt="{text}" src="data:image/svg+xml;base64,{data}"></div>'


def settings_of(runs: Sequence[CellRun]) -> str:
    """Return the settings of runs: first those in which they differ, then those that all share."""
    keys = sorted({key for run in runs for key in run.params if not key.startswith("run.")})
    values = {key: sorted({run.params[key] for run in runs if key in run.params}) for key in keys}
    shared = "\n".join(f"{key}={found[0]}" for key, found in values.items() if len(found) == 1)
    varied = "\n".join(f"{key}={','.join(found)}" for key, found in values.items() if len(found) > 1)
    differing = f"<h3>That differ</h3><pre>{escape(varied)}</pre>" if varied else ""
    return (
        f"<details><summary>Settings</summary>{differing}"
        f"<h3>The same in all runs that have them</h3><pre>{escape(shared)}</pre></details>"
    )


def runs_of(runs: Sequence[CellRun], pages: str) -> str:
    """Return the finished runs, each with how long it was trained, and on what.

    Args:
        runs: The runs.
        pages: Address of the runs' pages, which an id completes, or nothing where there are none.
    """
    lines = []
    for run in sorted(finished(runs), key=lambda run: natural(run.name)):
        name = escape(run.name)
        if pages:
            name = f'<a href="{escape(pages + run.run_id)}">{name}</a>'
        lines.append(
            f"<tr><td>{name}</td><td><code>{escape(run.run_id[:8])}</code></td>"
            f'<td class="number">{_duration(run.metrics.get(schema.TRAIN_SECONDS, 0.0))}</td>'
            f"<td>{escape(_hardware(run))}</td></tr>"
        )
    return (
        '<details><summary>Runs</summary><div class="wide"><table class="runs"><thead><tr><th>run</th>'
        '<th>id</th><th class="number">trained for</th><th>on</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def trained(runs: Sequence[CellRun]) -> list[str]:
    """Return for each machine how many runs it trained, and for how long together."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for run in finished(runs):
        seconds[_hardware(run)].append(run.metrics.get(schema.TRAIN_SECONDS, 0.0))
    return [
        f"{counted(len(each), 'finished run')}: {_duration(sum(each))} of training on {hardware}."
        for hardware, each in sorted(seconds.items())
    ]


def finished(runs: Sequence[CellRun]) -> list[CellRun]:
    """Return those of some runs that are finished."""
    return [run for run in runs if run.status == "FINISHED"]


def _hardware(run: CellRun) -> str:
    return run.tags.get(schema.TAG_HARDWARE, "hardware that was not recorded")


def _duration(seconds: float) -> str:
    """Return a time in the unit that leaves it readable: ``42 seconds``, ``12 minutes``, ``3.4 hours``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return counted(round(seconds / 60), "minute") if seconds >= 90 else counted(round(seconds), "second")


def samples_of(results: Results, samples: ReadSamples) -> str:
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


def environment(runs: Sequence[CellRun]) -> str:
    """Return with which versions and on which machines runs were made, and with which this page was."""
    versions = sorted({run.tags.get(schema.TAG_VERSION, "?") for run in runs})
    made = f"<p>Runs were made with seqsuite {escape(', '.join(versions))}.</p>" if versions else ""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        '<section id="environment"><h2>Environment</h2>'
        f"{made}{''.join(f'<p>{escape(told)}</p>' for told in trained(runs))}"
        f"<p>This page: Python {platform.python_version()}, {escape(libraries)}; {platform.machine()}.</p>"
        "</section>"
    )

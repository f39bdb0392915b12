"""Results as a report: which columns a table of results has, and what stands below it."""

import sys
from collections.abc import Sequence
from typing import TextIO

from seqsuite import report
from seqsuite.report import Column, Report
from seqsuite.report import Row as Cells
from seqsuite.results.collect import describe
from seqsuite.results.measured import first_set, of_samples
from seqsuite.results.order import natural
from seqsuite.results.sample_table import sample_metrics, sample_table
from seqsuite.results.scores import score_cells, score_column
from seqsuite.results.table import MetricInfo, Results, Row, Section, Unmatched, settings_text

COMMAND = "seqsuite results"
_TEST = "test_{}"


def print_results(
    results: Results,
    style: str = "table",
    file: TextIO | None = None,
    *,
    command: str = COMMAND,
    intervals: bool = False,
) -> None:
    """Write results to ``file`` (standard output by default) in one of :data:`seqsuite.report.FORMATS`.

    Behind a mean stands its standard deviation over the seeds, or its interval.
    """
    report.write(results_report(results, command), style, file or sys.stdout, intervals=intervals)


def results_report(results: Results, command: str = COMMAND) -> Report:
    """Return a report: for each section its ranking, further evaluation sets, samples, published numbers."""
    sections = []
    for section in results.sections:
        sections.append(_ranking(section))
        if further := _further_sets(section):
            sections.append(_by_set(section, further))
        if samples := sample_metrics(section):
            sections.append(sample_table(section, samples))
        sections += _published(section)
    notes = list(results.problems)
    if results.unfinished:
        notes.append(f"Not in the tables: {describe(results.unfinished)}.")
    return Report(command, {}, sections, notes)


def heading(section: Section) -> str:
    """Return what a section shows, in one line."""
    direction = "higher" if section.metric.higher_is_better else "lower"
    return f"{section.title}: test {section.metric.label}, {direction} is better"


def options_text(row: Row, section: Section) -> str:
    """Return a row's options as they are set: ``model.block.name`` is ``block``.

    A key is shown by its last part where no other of the section ends alike.
    """
    keys = {key.removesuffix(".name") for other in section.rows for key in other.options}
    ends = [key.rpartition(".")[2] for key in keys]
    short = {
        key: end if ends.count(end := key.removesuffix(".name").rpartition(".")[2]) == 1 else key
        for key in row.options
    }
    return settings_text({short[key]: value for key, value in row.options.items()})


def mean_and_spread(row: Row, metric: MetricInfo) -> str:
    """Return ``"mean ± standard deviation"``, or the value alone for a single seed."""
    return score_column("{}", "", metric.digits).show(score_cells("{}", row.score))


def _ranking(section: Section) -> report.Section:
    metric = section.metric
    columns = [
        Column("label", "model"),
        score_column(_TEST, metric.label, metric.digits),
        Column("paper", "paper", "number", metric.digits),
        Column("seeds", "seeds", "count"),
        Column("parameters", "params", "quantity"),
        Column("tokens_per_second", "tok/s", "quantity", optional=True),
        Column("steps", "steps", "count", optional=True),
        Column("options_shown", "options"),
    ]
    rows = [_cells(row, section) for row in section.rows]
    unused = {key for key in ("paper", "options_shown") if all(cells[key] in (None, "") for cells in rows)}
    baselines = ", ".join(f"{name} {metric.show(value)}" for name, value in section.baselines.items())
    return report.Section(
        kind="results",
        title=heading(section),
        columns=tuple(column for column in columns if column.key not in unused),
        rows=rows,
        notes=[*([f"Baseline: {baselines}."] if baselines else []), *_questions(section), *section.notes],
        about=_about(section) | {"baselines": dict(section.baselines)},
    )


def _questions(section: Section) -> list[str]:
    """Return on how much was tested."""
    if not section.evals:
        return []
    first = "; the first ranks" if section.evals.count(": ") > 1 else ""
    return [f"Tested on, sequences x tokens: {section.evals}{first}."]


def _about(section: Section) -> dict[str, object]:
    return {
        "task": section.task,
        "scale": section.scale,
        "apart": dict(section.apart),
        "data": section.data,
        "metric": section.metric.name,
        "metric_unit": section.metric.unit,
        "higher_is_better": section.metric.higher_is_better,
    }


def _cells(row: Row, section: Section) -> Cells:
    paper = row.paper.get(section.metric.name)
    return {
        "label": row.label,
        "model": row.model,
        "departures": dict(row.departures),
        "options": dict(row.options),
        "options_shown": options_text(row, section),
        **score_cells(_TEST, row.score),
        "seeds": len(row.values),
        "values": dict(row.values),
        "scores": {name: score.mean for name, score in row.scores.items()},
        "validation_mean": row.validation,
        "paper": paper.value if paper else None,
        "parameters": row.parameters,
        "tokens_per_second": row.tokens_per_second,
        "train_seconds": row.train_seconds,
        "steps": row.steps,
        "versions": row.versions,
        "run_ids": row.run_ids,
    }


def _further_sets(section: Section) -> list[str]:
    """Return the evaluation sets beyond the first that the section's metric was measured on."""
    ending = f"/{section.metric.name}"
    names = {
        name
        for row in section.rows
        for name in row.scores
        if name.endswith(ending) and of_samples(name) is None
    }
    return sorted((name.removesuffix(ending) for name in names), key=natural)


def _by_set(section: Section, further: Sequence[str]) -> report.Section:
    """Return the same rows by evaluation set, with the paper's numbers below a row that has some."""
    metric = section.metric
    keys = {name: f"{name}/{metric.name}" for name in further}
    if first := first_set(section.evals):
        keys = {first: metric.name, **keys}
    columns = [Column("label", "model")]
    columns += [score_column(f"{name}_{{}}", name.replace("_", " "), metric.digits) for name in keys]
    rows: list[Cells] = []
    for row in section.rows:
        cells: Cells = {"label": row.label}
        theirs: Cells = {"label": "  paper"}
        for name, key in keys.items():
            if key in row.scores:
                cells |= score_cells(f"{name}_{{}}", row.scores[key])
            if key in row.paper:
                theirs[f"{name}_mean"] = row.paper[key].value
        rows += [cells, theirs] if len(theirs) > 1 else [cells]
    title = f"{section.title}: test {metric.label} by evaluation set"
    return report.Section("evaluation sets", title, tuple(columns), rows, about=_about(section))


def _published(section: Section) -> list[report.Section]:
    """Return the published numbers that stand beside no row, in a table for each source and protocol."""
    metric = section.metric
    together: dict[tuple[str, str], list[Unmatched]] = {}
    for entry in section.unmatched:
        together.setdefault((entry.paper.source, entry.paper.protocol), []).append(entry)
    named = {entry.metric for entry in section.unmatched} != {metric.name}
    mixed = any(of_samples(entry.metric) for entry in section.unmatched)
    columns = (
        Column("label", "settings"),
        *([Column("metric_name", "metric")] if named else []),
        Column("value", "value" if mixed else metric.label, "number", metric.digits),
    )
    title = f"{section.title}: published, for settings that no row above has"
    return [
        report.Section(
            kind="published",
            title=title,
            columns=columns,
            rows=[_published_cells(entry) for entry in entries],
            notes=[f"{source}; {protocol}." if protocol else f"{source}."],
            about={"task": section.task},
        )
        for (source, protocol), entries in together.items()
    ]


def _published_cells(entry: Unmatched) -> Cells:
    value, source, protocol = entry.paper
    return {
        "label": entry.label,
        "metric_name": entry.metric,
        "value": value,
        "source": source,
        "protocol": protocol,
    }

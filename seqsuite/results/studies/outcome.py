"""What a study's runs say: its table, the paper's numbers, and whether the order holds."""

from collections.abc import Sequence

from seqsuite.experiments.tracking.reader import Reader
from seqsuite.report import Column, Report, Section
from seqsuite.report import Row as Cells
from seqsuite.results.formats import results_report
from seqsuite.results.groups import newest
from seqsuite.results.order import natural
from seqsuite.results.pivot import SET, Axes, pivot, settings_of
from seqsuite.results.studies.beside import with_published
from seqsuite.results.studies.laws import laws
from seqsuite.results.studies.study import Study
from seqsuite.results.studies.verdict import Compared, compared, mark
from seqsuite.results.table import Results


def study_report(
    name: str, study: Study, scale: str, reader: Reader, results: Results, command: str
) -> Report:
    """Return a report on a study at a scale: its table, its rows beside the paper's, and the order.

    Args:
        name: The study's name.
        study: The study.
        scale: The scale of its runs.
        reader: Where its runs are, and no others.
        results: The same runs, collected.
        command: The command that it stands for.
    """
    pairs = compared(study, results)
    further = [section for section in results_report(results).sections if not _repeats(study, section)]
    sections = [*study_tables(study, reader), *study_laws(study, reader), *further]
    if pairs:
        sections.append(order_table(pairs))
    seen = mark(study, scale, pairs)
    verdict = f"{name} at scale={scale}: {'no order is expected' if seen == '–' else seen}."
    told = [verdict, *([f"Found in the paper: {study.finding}"] if study.finding else [])]
    return Report(command, {}, sections, [*told, *results.problems])


def _repeats(study: Study, section: Section) -> bool:
    """Return whether a table by evaluation set has only numbers that the study's own has, none published."""
    by_set = study.pivot is not None and study.pivot.cols == SET
    published = any(str(row.get("label", "")).startswith(" ") for row in section.rows)
    return by_set and section.kind == "evaluation sets" and not published


def study_tables(study: Study, reader: Reader) -> list[Section]:
    """Return the study's own table with the published numbers, if its file lays one out.

    It has the axes that the runs so far have: of an unfinished study perhaps none has an option of a mixer.
    """
    if study.pivot is None:
        return []
    cells = newest(reader.cells())
    known = {SET, *settings_of(cells)}
    wanted = [study.pivot.rows] if isinstance(study.pivot.rows, str) else study.pivot.rows
    rows = tuple(row for row in wanted if row in known)
    cols = study.pivot.cols if study.pivot.cols in known else None
    if not rows:
        return []
    axes = Axes(rows, cols, study.pivot.metric)
    return [with_published(section, study, cells, axes) for section in pivot(cells, axes)]


def study_laws(study: Study, reader: Reader) -> list[Section]:
    """Return the laws that the study's pictures show, if any."""
    return laws(newest(reader.cells()), study.figures)


def order_table(pairs: Sequence[Compared]) -> Section:
    """Return the pairs of which the first was found to be ahead, with the interval of their difference."""
    digits = 3
    columns = (
        Column("better", "expected ahead"),
        Column("worse", "of"),
        *([Column("at", "at")] if any(pair.place for pair in pairs) else []),
        Column("metric", "metric"),
        Column("mean", "ahead by", "number", digits),
        Column("low", "95 % from", "number", digits),
        Column("high", "to", "number", digits),
        Column("seeds", "seeds", "count"),
        Column("verdict", "verdict"),
    )
    rows: list[Cells] = [
        {
            "better": pair.better.label,
            "worse": pair.worse.label,
            "at": pair.place,
            "metric": pair.metric,
            "mean": pair.difference.mean,
            "low": pair.difference.low if pair.difference.seeds > 1 else None,
            "high": pair.difference.high if pair.difference.seeds > 1 else None,
            "seeds": pair.difference.seeds,
            "verdict": pair.difference.verdict,
        }
        for pair in sorted(pairs, key=lambda pair: natural(pair.place))
    ]
    note = "Differences are paired by seed, intervals by bootstrap. Fewer than three seeds carry nothing."
    return Section("order", "The order that was found, and ours", columns, rows, notes=[note])

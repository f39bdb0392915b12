"""The published numbers in columns of a study's own table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Column, Section
from seqsuite.report import Row as Cells
from seqsuite.results.pivot import MODEL, SET, Axes, axis_value
from seqsuite.results.studies.study import Published, Study, matches

_MOST = 4
"""Columns that get one of published numbers each; a table of more is too wide for that."""


def with_published(section: Section, study: Study, cells: Sequence[CellRun], axes: Axes) -> Section:
    """Return a study's table with a column of published numbers beside each of ours that has some.

    They are of the table's metric where that was published, else of the one that was, which is named below.

    Args:
        section: A table of :func:`~seqsuite.results.pivot.pivot`.
        study: The study.
        cells: The runs that it was made of.
        axes: Its axes.
    """
    task, scale, ours = (str(section.about[key]) for key in ("task", "scale", "metric"))
    published = [one for one in study.published if one.task == task]
    means = [column for column in section.columns if column.key.startswith("mean_")]
    if axes.cols == SET or len(means) > _MOST or not published:
        return section
    names = [name for one in published for name in one.metrics]
    metric = ours if ours in names else names[0]
    settings = {
        _place(cell, axes): cell.params
        for cell in cells
        if (cell.tags[schema.TAG_TASK], cell.tags[schema.TAG_SCALE]) == (task, scale)
    }
    columns, rows = list(section.columns), [dict(row) for row in section.rows]
    source = _Source(settings, published, metric)
    for mean in means:
        key = mean.key.replace("mean", "paper")
        if _fill(rows, key, mean, axes, source):
            paper = "paper" if metric == ours else f"paper ({_in_words(metric)})"
            title = paper if axes.cols is None else f"{mean.title}, {paper}"
            digits = mean.digits if metric == ours else 2
            columns.insert(columns.index(mean) + 1, Column(key, title, "number", digits))
    notes = _notes(study, source.used, "" if metric == ours else metric)
    return replace(section, columns=tuple(columns), rows=rows, notes=[*section.notes, *notes])


def _place(cell: CellRun, axes: Axes) -> tuple[str, ...]:
    """Return in which row and column a run is."""
    return tuple(
        axis_value(cell, key, axes.settings) for key in (*axes.rows, *([axes.cols] if axes.cols else []))
    )


@dataclass
class _Source:
    """Finds published values, and remembers where they were from.

    Attributes:
        settings: Settings of runs, by the row and column that they are in.
        published: Published numbers of the task.
        metric: Which of them.
        used: Those that a value was taken from.
    """

    settings: Mapping[tuple[str, ...], Mapping[str, str]]
    published: Sequence[Published]
    metric: str
    used: list[Published] = field(default_factory=list)

    def value(self, place: tuple[str, ...]) -> float | None:
        """Return the first published value of the settings in a place."""
        params = self.settings.get(place)
        if params is None:
            return None
        for one in self.published:
            for entry in one.entries():
                if self.metric in entry.values and matches(entry.settings, params):
                    self.used += [one] if one not in self.used else []
                    return entry.values[self.metric]
        return None


def _fill(rows: Sequence[Cells], key: str, mean: Column, axes: Axes, source: _Source) -> bool:
    """Write the published values beside one column of ours; return whether there are any."""
    found = False
    for row in rows:
        place = tuple(str(row[f"row_{number}"]) for number in range(len(axes.rows)))
        col = mean.title if axes.cols == MODEL else mean.title.partition("=")[2]
        value = source.value((*place, col) if axes.cols else place)
        if value is not None:
            row[key], found = value, True
    return found


def _in_words(metric: str) -> str:
    return metric.removeprefix("sample/").replace("_", " ")


def _notes(study: Study, used: Sequence[Published], metric: str) -> list[str]:
    """Say where published numbers are from, and of which metric where that is not ours."""
    of = f" ({_in_words(metric)})" if metric else ""
    return [
        f"Paper{of}: {study.source}{' (secondary transcription)' if one.secondary else ''}; {one.protocol}."
        for one in used
    ]

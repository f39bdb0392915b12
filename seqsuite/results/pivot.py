"""A metric by two settings: rows, columns, and in each cell the mean over seeds."""

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from seqsuite import report
from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.registry import did_you_mean
from seqsuite.report import Column
from seqsuite.report import Row as Cells
from seqsuite.results.collect import metric_of, unequal_code
from seqsuite.results.departures import departures, of_model
from seqsuite.results.filters import setting
from seqsuite.results.intervals import difference
from seqsuite.results.measured import first_set, measured, of_samples, value_of
from seqsuite.results.order import natural
from seqsuite.results.scores import score_cells, score_column, score_of
from seqsuite.results.table import SMOKE, MetricInfo, labelled

SET = "set"
"""In place of a setting: the evaluation sets, or of ``loss_by_position`` the positions."""
MODEL = "model"
"""The setting that is a model with its departures."""
_ALL = "all"
_MOST_NAMED = 4
"""Columns or rows that a sentence names, rather than to say that it is true of all."""


@dataclass(frozen=True)
class Axes:
    """What a pivot table's rows and columns are.

    Attributes:
        rows: Settings whose values make the rows; ``model`` is a model with its departures.
        cols: A setting whose values make the columns, ``"set"``, or ``None`` for a single column. Numbers of
            one column are compared; of ``"model"`` those of one row.
        metric: The metric, ``<metric>`` or ``<evaluation set>/<metric>``; empty for the one of each task.
    """

    rows: tuple[str, ...]
    cols: str | None = None
    metric: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the settings of both axes."""
        return (*self.rows, *([self.cols] if self.cols and self.cols != SET else []))


def pivot(cells: Sequence[CellRun], axes: Axes) -> list[report.Section]:
    """Return a table a task and scale, best in bold; what did not finish says so in its place.

    Args:
        cells: Runs, one a cell.
        axes: Rows, columns and metric.

    Raises:
        UserError: if no run has a setting of the axes, or none the metric.
    """
    _check(cells, axes)
    together: dict[tuple[str, str], list[CellRun]] = defaultdict(list)
    for cell in cells:
        together[cell.tags[schema.TAG_TASK], cell.tags[schema.TAG_SCALE]].append(cell)
    return [_section(found, axes) for _, found in sorted(together.items())]


def settings_of(cells: Iterable[CellRun]) -> list[str]:
    """Return the settings that at least one run has, as axes name them."""
    return sorted({key.removesuffix(".name") for cell in cells for key in cell.params})


def _check(cells: Sequence[CellRun], axes: Axes) -> None:
    known = settings_of(cells)
    for key in axes.settings:
        if key not in known:
            raise UserError(
                f"No run has a setting {key!r} to make rows or columns.{did_you_mean(key, known)}"
            )
    names = sorted({name for cell in cells for name in measured(cell)})
    is_there = any(name.startswith(f"{axes.metric}/") for name in names) or any(
        value_of(cell, axes.metric) is not None for cell in cells
    )
    if axes.metric and names and not is_there:
        raise UserError(
            f"No run has the metric {axes.metric!r}: there is {', '.join(names)}."
            f"{did_you_mean(axes.metric, names)}"
        )


def _section(cells: Sequence[CellRun], axes: Axes) -> report.Section:
    usual = metric_of(cells[0])
    name = axes.metric or usual.name
    is_usual = of_samples(name) is None and name.rpartition("/")[2] == usual.name
    metric = usual if is_usual else MetricInfo(name.rpartition("/")[2], "", False, 3)
    ranked = metric is usual
    values = _values(cells, axes, name)
    rows = sorted({row for row, _ in values}, key=lambda row: [natural(text) for text in row])
    cols = sorted({col for _, col in values}, key=natural)
    columns = [Column(f"row_{place}", key) for place, key in enumerate(axes.rows)]
    columns += [
        score_column(_key(place), _heading(axes, col, name), metric.digits) for place, col in enumerate(cols)
    ]
    shown: list[Cells] = []
    for row in rows:
        line: Cells = {f"row_{place}": text for place, text in enumerate(row)}
        for place, col in enumerate(cols):
            found = values.get((row, col))
            line |= _cell(found, place) if found else {}
        shown.append(line)
    best = _best(shown, len(cols), metric.higher_is_better, axes) if ranked else frozenset()
    warnings = _uncarried(values, rows, cols, axes, metric) if ranked and not _is_smoke(cells) else []
    first = cells[0].tags
    where = f"{first[schema.TAG_TASK]} scale={first[schema.TAG_SCALE]}"
    across = f" by {axes.cols}" if axes.cols else ""
    return report.Section(
        kind="pivot",
        title=f"{where}: {_label(metric, name)}{across}",
        columns=tuple(columns),
        rows=shown,
        notes=[*_notes(cells, values, axes, best), *warnings],
        about={"task": first[schema.TAG_TASK], "scale": first[schema.TAG_SCALE], "metric": name},
        bold=best,
    )


def _label(metric: MetricInfo, name: str) -> str:
    which = name.rpartition("/")[0]
    if of_samples(name) is not None:
        return f"{metric.label} of generated samples"
    return f"test {metric.label} on {which}" if which else f"test {metric.label}"


def _heading(axes: Axes, col: str, name: str) -> str:
    if axes.cols is None:
        return name
    return col if axes.cols in (SET, MODEL) else f"{axes.cols.rpartition('.')[2]}={col}"


Found = list[tuple[CellRun, float | None]]
"""Runs and what they reached; ``None`` where they did not finish."""


def _values(cells: Sequence[CellRun], axes: Axes, metric: str) -> dict[tuple[tuple[str, ...], str], Found]:
    values: dict[tuple[tuple[str, ...], str], Found] = defaultdict(list)
    for cell in cells:
        row = tuple(axis_value(cell, key, axes.settings) for key in axes.rows)
        for col, key in _columns_of(cell, axes, metric):
            value = value_of(cell, key)
            if cell.status == "FINISHED" and value is None:
                continue  # not measured on this set
            values[row, col].append((cell, value if cell.status == "FINISHED" else None))
    return values


def _columns_of(cell: CellRun, axes: Axes, metric: str) -> list[tuple[str, str]]:
    """Return the columns that a run stands in, and the metric it shows there."""
    if axes.cols is None:
        return [(_ALL, metric)]
    if axes.cols == SET:
        return metric_by_set(cell, metric)
    return [(axis_value(cell, axes.cols, axes.settings), metric)]


def metric_by_set(cell: CellRun, metric: str) -> list[tuple[str, str]]:
    """Return the evaluation sets of a run, or the positions of a metric by position, and the metric there."""
    found = measured(cell)
    members = [key.removeprefix(f"{metric}/") for key in found if key.startswith(f"{metric}/")]
    if members:
        return [(name, f"{metric}/{name}") for name in members]
    sets = [
        key.removesuffix(f"/{metric}")
        for key in found
        if key.endswith(f"/{metric}") and of_samples(key) is None
    ]
    first = first_set(cell.tags.get(schema.TAG_EVALS, "")) or "first"
    return [(first, metric), *((name, f"{name}/{metric}") for name in sets)]


def axis_value(cell: CellRun, key: str, told: Collection[str] = ()) -> str:
    """Return a setting's value in words; ``model`` is the model with its departures.

    Args:
        cell: The run.
        key: The setting.
        told: Settings that are told elsewhere, and need not stand among departures.
    """
    if key == MODEL:
        found = {
            name: value
            for name, value in of_model(departures(cell.params)).items()
            if f"model.{name}".removesuffix(".name") not in told
        }
        return labelled(cell.params.get("model.name", "?"), found)
    value = setting(cell, key)
    return "–" if value is None else "none" if value == "null" else value


def _cell(found: Found, place: int) -> Cells:
    values = [value for _, value in found if value is not None]
    if not values:
        diverged = any(schema.TAG_DIVERGED in run.tags for run, _ in found)
        word = "diverged" if diverged else schema.status_in_words(found[0][0].status)
        return {_key(place).format("mean"): word}
    seeds = len({run.tags[schema.TAG_SEED] for run, _ in found})
    return {**score_cells(_key(place), score_of(values)), f"seeds_{place}": seeds}


def _key(place: int) -> str:
    """Return what a column's parts are called in rows."""
    return f"{{}}_{place}"


def _best(
    rows: Sequence[Cells], count: int, higher_is_better: bool, axes: Axes
) -> frozenset[tuple[int, str]]:
    keys = [_key(place).format("mean") for place in range(count)]
    columns = [[(number, key) for number in range(len(rows))] for key in keys]
    lines = [[(number, key) for key in keys] for number in range(len(rows))]
    best = set()
    for places in lines if axes.cols == MODEL else columns:
        numbers = {
            (number, key): rows[number][key]
            for number, key in places
            if isinstance(rows[number].get(key), float) and math.isfinite(rows[number][key])
        }
        if len(numbers) > 1:
            top = (max if higher_is_better else min)(numbers.values())
            best |= {place for place, value in numbers.items() if value == top}
    return frozenset(best)


def _notes(
    cells: Sequence[CellRun],
    values: Mapping[tuple[tuple[str, ...], str], Found],
    axes: Axes,
    best: Collection[tuple[int, str]],
) -> list[str]:
    notes = []
    counts = {
        len({run.tags[schema.TAG_SEED] for run, value in found if value is not None})
        for found in values.values()
    } - {0}
    if counts:
        low, high = min(counts), max(counts)
        bold = " Best in bold." if best else ""
        notes.append(f"Seeds: {low if low == high else f'{low} to {high}'}.{bold}")
    mixed = _mixed(values)
    if mixed:
        notes.append(
            f"A cell is the mean of runs that differ in {', '.join(mixed)}: filter, or make these rows."
        )
    if not all(map(_is_of_one_data, values.values())):
        notes.append("A cell is the mean of runs on different data: `seqsuite results` shows them apart.")
    for (row, _), found in values.items():
        notes += unequal_code(", ".join(row), [run for run, value in found if value is not None])
    lost = [run for found in values.values() for run, value in found if value is None]
    for run in {run.run_id: run for run in lost if run.status == "FAILED"}.values():
        told = run.tags.get(schema.TAG_FAILURE)
        if told:
            notes.append(f"{run.name}: {told}")
    if _is_smoke(cells):
        notes.append(SMOKE)
    return notes


def _is_smoke(cells: Sequence[CellRun]) -> bool:
    return cells[0].tags[schema.TAG_SCALE] == "smoke"


def _uncarried(
    values: Mapping[tuple[tuple[str, ...], str], Found],
    rows: Sequence[tuple[str, ...]],
    cols: Sequence[str],
    axes: Axes,
    metric: MetricInfo,
) -> list[str]:
    """Return a warning that names where seeds do not carry that the best is ahead of the next."""
    if "seed" in axes.settings:  # each cell is of one seed
        return []
    by_row = axes.cols == MODEL
    groups: dict[str, list[dict[int, float]]] = defaultdict(list)
    for row in rows:
        for col in cols:
            where = _row_heading(axes, row) if by_row else _heading(axes, col, "")
            groups[where].append(_by_seed(values.get((row, col), [])))
    ranked = {where: _ranked(group, metric) for where, group in groups.items()}
    compared = {where: best for where, best in ranked.items() if len(best) > 1}
    uncarried = [
        where
        for where, (first, second, *_) in compared.items()
        if difference(first, second, metric.higher_is_better).verdict != "ahead"
    ]
    if not uncarried:
        return []
    told = f" in {', '.join(uncarried)}" if axes.cols else ""
    if len(uncarried) == len(compared) > _MOST_NAMED:
        told = f" in any {'row' if by_row else 'column'}"
    return [f"Seeds do not carry that the best is ahead of the next{told}."]


def _ranked(group: Sequence[dict[int, float]], metric: MetricInfo) -> list[dict[int, float]]:
    """Return those of a group that reached something, best first."""
    return sorted(filter(None, group), key=lambda seeds: _rank(seeds, metric))


def _row_heading(axes: Axes, row: Sequence[str]) -> str:
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in zip(axes.rows, row, strict=True))


def _by_seed(found: Found) -> dict[int, float]:
    """Return the mean of what runs reached, by seed."""
    seeds: dict[int, list[float]] = defaultdict(list)
    for run, value in found:
        if value is not None:
            seeds[int(run.tags[schema.TAG_SEED])].append(value)
    return {seed: statistics.fmean(values) for seed, values in seeds.items()}


def _rank(seeds: Mapping[int, float], metric: MetricInfo) -> tuple[bool, float]:
    mean = statistics.fmean(seeds.values())
    return math.isnan(mean), -mean if metric.higher_is_better else mean


def _mixed(values: Mapping[tuple[tuple[str, ...], str], Found]) -> list[str]:
    """Return the settings in which runs of one cell differ."""
    keys: dict[str, None] = {}
    for found in values.values():
        runs = [run for run, value in found if value is not None]
        for key in sorted({key for run in runs for key in run.params}):
            if (
                key != "seed"
                and not key.startswith("run.")
                and len({run.params.get(key) for run in runs}) > 1
            ):
                keys[key.removesuffix(".name")] = None
    return list(keys)


def _is_of_one_data(found: Found) -> bool:
    return len({run.tags.get(schema.TAG_DATA, "") for run, value in found if value is not None}) <= 1

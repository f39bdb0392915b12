"""Finished cells, averaged over seeds and ranked, beside the baseline and the paper's numbers."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun, Store

_NO_OPTIONS = ("task.name", "model.name", "scale", "seed")
LARGEST = 1e308
"""MLflow's databases store infinity as the largest float."""


@dataclass(frozen=True)
class PaperRow:
    """One published number."""

    model: str
    metric: str
    value: float
    protocol: str
    source: str


@dataclass(frozen=True)
class Row:
    """Cells that differ in their seed only.

    Attributes:
        model: The model's name.
        options: The settings in which this row differs from others of its model in the same section.
        mean: Mean over the seeds of the task's metric on the test set.
        spread: Sample standard deviation over the seeds, or ``None`` for a single one.
        values: The metric for each seed.
        validation: Mean over the seeds of the metric on the validation set, at the best checkpoint.
        steps: Optimizer steps.
        parameters: Number of trainable parameters.
        tokens_per_second: Mean training speed.
        train_seconds: Mean training time.
        baseline: Name of the trivial baseline and its mean over the seeds.
        versions: Versions of seqsuite that the cells were run with.
        run_ids: MLflow's ids of the runs.
    """

    model: str
    options: Mapping[str, str]
    mean: float
    spread: float | None
    values: Mapping[int, float]
    validation: float | None
    steps: int | None
    parameters: int | None
    tokens_per_second: float | None
    train_seconds: float | None
    baseline: tuple[str, float] | None
    versions: tuple[str, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """All rows of one task at one scale, best first, which makes them comparable."""

    task: str
    scale: str
    metric: str
    higher_is_better: bool
    rows: tuple[Row, ...]
    paper: tuple[PaperRow, ...]


@dataclass(frozen=True)
class Results:
    """Sections ordered by task and scale, and how many cells have not finished, by status."""

    sections: tuple[Section, ...]
    unfinished: Mapping[str, int]


def collect(
    store: Store,
    *,
    tasks: Collection[str] = (),
    models: Collection[str] = (),
    scales: Collection[str] = (),
    paper: bool = True,
) -> Results:
    """Read the store's cells and group them; of a cell that was run again, only the newest run counts.

    Args:
        store: Where to read from.
        tasks: Names to keep, or none for all; likewise ``models`` and ``scales``.
        models: See ``tasks``.
        scales: See ``tasks``.
        paper: Whether to put the task's published numbers beside ours.

    Raises:
        UserError: if no finished cell remains; the sentence says what there is instead.
    """
    cells = _newest(store.search(f"tags.`{schema.TAG_KIND}` = 'cell'"))
    kept = [
        cell
        for cell in cells
        if _keeps(tasks, cell.tags.get(schema.TAG_TASK))
        and _keeps(models, cell.tags.get(schema.TAG_MODEL))
        and _keeps(scales, cell.tags.get(schema.TAG_SCALE))
    ]
    finished = [cell for cell in kept if cell.status == "FINISHED"]
    if not finished:
        raise UserError(_nothing_found(store, cells, kept))
    sections: dict[tuple[str, str], list[CellRun]] = defaultdict(list)
    for cell in finished:
        sections[cell.tags[schema.TAG_TASK], cell.tags[schema.TAG_SCALE]].append(cell)
    return Results(
        sections=tuple(
            _section(task, scale, members, ()) for (task, scale), members in sorted(sections.items())
        ),
        unfinished=Counter(cell.status for cell in kept if cell.status != "FINISHED"),
    )


def _keeps(wanted: Collection[str], name: str | None) -> bool:
    return not wanted or name in wanted


def _newest(cells: Iterable[CellRun]) -> list[CellRun]:
    """Keep the first run of each cell, given newest first; a finished one before any other."""
    chosen: dict[str, CellRun] = {}
    for cell in cells:
        known = chosen.setdefault(cell.tags[schema.TAG_CELL], cell)
        if cell.status == "FINISHED" and known.status != "FINISHED":
            chosen[cell.tags[schema.TAG_CELL]] = cell
    return list(chosen.values())


def _nothing_found(store: Store, cells: Sequence[CellRun], kept: Sequence[CellRun]) -> str:
    if not cells:
        return (
            f"There are no results yet in the experiment {store.experiment!r}: start with "
            "`seqsuite run task=dna model=mamba`."
        )
    if not kept:
        there = sorted(
            {
                " ".join(
                    f"{key}={cell.tags.get(tag)}"
                    for key, tag in (
                        ("task", schema.TAG_TASK),
                        ("model", schema.TAG_MODEL),
                        ("scale", schema.TAG_SCALE),
                    )
                )
                for cell in cells
            }
        )
        return f"No cell matches; there is {'; '.join(there)}."
    return f"No cell has finished yet ({describe(Counter(cell.status for cell in kept))})."


def describe(counts: Mapping[str, int]) -> str:
    """Return counts by status as words: ``"2 running, 1 failed"``."""
    return ", ".join(f"{count} {status.lower()}" for status, count in sorted(counts.items()))


def _section(task: str, scale: str, cells: Sequence[CellRun], paper: tuple[PaperRow, ...]) -> Section:
    first = cells[0]
    metric = first.tags[schema.TAG_METRIC]
    higher = first.tags[schema.TAG_HIGHER_IS_BETTER] == "true"
    groups: dict[str, list[CellRun]] = defaultdict(list)
    for cell in cells:
        groups[cell.tags[schema.TAG_GROUP]].append(cell)
    options = _differing_options(list(groups.values()))
    rows = [_row(members, options[group]) for group, members in groups.items()]
    return Section(
        task=task,
        scale=scale,
        metric=metric,
        higher_is_better=higher,
        rows=tuple(sorted(rows, key=lambda row: _rank(row, higher))),
        paper=paper,
    )


def _rank(row: Row, higher_is_better: bool) -> tuple[bool, float]:
    """Return a sort key that puts the best first and NaN last."""
    return math.isnan(row.mean), -row.mean if higher_is_better else row.mean


def _row(cells: Sequence[CellRun], options: Mapping[str, str]) -> Row:
    values = {int(cell.tags[schema.TAG_SEED]): _test(cell) for cell in cells}
    metric = cells[0].tags[schema.TAG_METRIC]
    steps = cells[0].params.get("train.steps")
    parameters = cells[0].metrics.get(schema.PARAMETERS)
    return Row(
        model=cells[0].tags[schema.TAG_MODEL],
        options=options,
        mean=statistics.fmean(values.values()),
        spread=statistics.stdev(values.values()) if len(values) > 1 else None,
        values=dict(sorted(values.items())),
        validation=_mean(cells, schema.BEST + metric),
        steps=int(steps) if steps is not None else None,
        parameters=int(parameters) if parameters is not None else None,
        tokens_per_second=_mean(cells, schema.TOKENS_PER_SECOND),
        train_seconds=_mean(cells, schema.TRAIN_SECONDS),
        baseline=_baseline(cells, metric),
        versions=tuple(sorted({cell.tags[schema.TAG_VERSION] for cell in cells})),
        run_ids=tuple(cell.run_id for cell in cells),
    )


def _test(cell: CellRun) -> float:
    value = cell.metrics.get(schema.TEST + cell.tags[schema.TAG_METRIC], math.nan)
    return math.inf if value > LARGEST else value


def _mean(cells: Sequence[CellRun], metric: str) -> float | None:
    values = [cell.metrics[metric] for cell in cells if metric in cell.metrics]
    return statistics.fmean(values) if values else None


def _baseline(cells: Sequence[CellRun], metric: str) -> tuple[str, float] | None:
    value = _mean(cells, schema.BASELINE + metric)
    return None if value is None else (cells[0].tags.get(schema.TAG_BASELINE, "baseline"), value)


def _differing_options(groups: Sequence[Sequence[CellRun]]) -> dict[str, dict[str, str]]:
    """Return, by group, the settings in which it differs from other groups of the same model.

    Choices come first. The options of a choice, such as a block's, are compared only where the choice is the
    same: those of another block follow from it.
    """
    members = [cells[0] for cells in groups]
    values: dict[tuple[str, ...], set[str | None]] = defaultdict(set)
    for key in sorted({key for cell in members for key in cell.params if _is_option(key)}):
        for cell in members:
            values[_scope(cell, key)].add(cell.params.get(key))
    return {
        cell.tags[schema.TAG_GROUP]: {
            key: cell.params[key]
            for key in sorted(cell.params, key=lambda key: (not key.endswith(".name"), key))
            if len(values.get(_scope(cell, key), ())) > 1
        }
        for cell in members
    }


def _scope(cell: CellRun, key: str) -> tuple[str, ...]:
    """Return the key with all that must be equal for two cells' values of it to be compared."""
    owner = key.removesuffix(".name").rpartition(".")[0]
    while owner and f"{owner}.name" not in cell.params:
        owner = owner.rpartition(".")[0]
    return key, cell.tags[schema.TAG_MODEL], cell.params.get(f"{owner}.name", "")


def _is_option(key: str) -> bool:
    return key not in _NO_OPTIONS and not key.startswith("run.")

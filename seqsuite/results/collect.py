"""Finished cells, averaged over seeds and ranked, beside baselines and published numbers."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from seqsuite.errors import UserError
from seqsuite.experiments.config.scales import scales_of
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import LARGEST, Reader, open_reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.registry import did_you_mean
from seqsuite.results.departures import departures, of_model
from seqsuite.results.filters import Filter, check_keys, parse_filters, setting
from seqsuite.results.groups import grouped, newest
from seqsuite.results.intervals import uncarried
from seqsuite.results.measured import measured
from seqsuite.results.order import natural
from seqsuite.results.published import join_published
from seqsuite.results.scores import Score, score_of
from seqsuite.results.studies.study import Study
from seqsuite.results.table import SMOKE, MetricInfo, Results, Row, Section, settings_text

_NO_OPTIONS = ("task.name", "model.name", "scale", "seed")
_NAMED = 12
"""Cells that are named where none matches."""
_UNEQUAL = 1.5


def find_results(*filters: str, experiment: str = "seqsuite", paper: bool = True) -> Results:
    """Return the finished runs as ``seqsuite results`` shows them; ``.to_pandas()`` makes a data frame.

    Args:
        filters: Conditions on settings, such as ``"task=dna"`` or ``"task.length>=256"``.
        experiment: MLflow experiment to read.
        paper: Whether to put published numbers beside ours.

    Raises:
        UserError: if there are none, or a condition cannot be used.
    """
    conditions = parse_filters(filters)
    return collect(open_reader(experiment), filters=conditions, paper=paper)


def collect(
    reader: Reader,
    *,
    filters: Sequence[Filter] = (),
    tasks: Collection[str] = (),
    models: Collection[str] = (),
    scales: Collection[str] = (),
    paper: bool = True,
    study: Study | None = None,
) -> Results:
    """Read the cells and group them; of a cell that was run again, only the newest finished run counts.

    No task is constructed, and neither PyTorch nor a plug-in is imported.

    Args:
        reader: Where to read from.
        filters: Conditions on settings, each of which must be met.
        tasks: Names to keep, or none for all; likewise ``models`` and ``scales``.
        models: See ``tasks``.
        scales: See ``tasks``.
        paper: Whether to put published numbers beside ours.
        study: The study whose published numbers they are; by default those of all studies.

    Raises:
        UserError: if no finished cell remains; the sentence says what there is instead.
    """
    cells = newest(reader.cells())
    kept = select(cells, filters, tasks=tasks, models=models, scales=scales)
    finished = [cell for cell in kept if cell.status == "FINISHED"]
    if not finished:
        raise UserError(nothing_found(reader, cells, kept, filters))
    sections = _sections(finished)
    problems: list[str] = []
    if paper:
        sections, problems = join_published(sections, study)
    unfinished: Counter[str] = Counter(cell.status for cell in kept if cell.status != "FINISHED")
    return Results(tuple(sections), unfinished, tuple(problems))


def select(
    cells: Sequence[CellRun],
    filters: Sequence[Filter] = (),
    *,
    tasks: Collection[str] = (),
    models: Collection[str] = (),
    scales: Collection[str] = (),
) -> list[CellRun]:
    """Return the cells that meet all conditions; see :func:`collect`.

    Raises:
        UserError: if no cell has a setting that a condition is on.
    """
    check_keys(filters, cells)
    return [
        cell
        for cell in cells
        if _keeps(tasks, cell.tags.get(schema.TAG_TASK))
        and _keeps(models, cell.tags.get(schema.TAG_MODEL))
        and _keeps(scales, cell.tags.get(schema.TAG_SCALE))
        and all(condition.keeps(cell) for condition in filters)
    ]


def _keeps(wanted: Collection[str], name: str | None) -> bool:
    return not wanted or name in wanted


def nothing_found(
    reader: Reader, cells: Sequence[CellRun], kept: Sequence[CellRun], filters: Sequence[Filter] = ()
) -> str:
    """Return why there is nothing to show, and what there is instead."""
    if not cells:
        return (
            f"There are no results yet in the experiment {reader.experiment!r}: start with "
            "`seqsuite run task=dna model=mamba`."
        )
    if not kept:
        for wanted in filters:
            there = sorted({str(setting(cell, wanted.key)) for cell in cells} - {"None"}, key=natural)
            if there and not any(map(wanted.keeps, cells)):
                near = did_you_mean(wanted.values[0], there) if wanted.relation == "=" else ""
                more = f" and {len(there) - _NAMED} others" if len(there) > _NAMED else ""
                return (
                    f"No cell has {wanted.key}{wanted.relation}{','.join(wanted.values)}; there is "
                    f"{wanted.key}={', '.join(there[:_NAMED])}{more}.{near}"
                )
        names = {"task": schema.TAG_TASK, "model": schema.TAG_MODEL, "scale": schema.TAG_SCALE}
        there = sorted(
            {" ".join(f"{key}={cell.tags.get(tag)}" for key, tag in names.items()) for cell in cells}
        )
        more = f"; and {len(there) - _NAMED} others" if len(there) > _NAMED else ""
        return f"No cell matches; there is {'; '.join(there[:_NAMED])}{more}."
    return f"No cell has finished yet ({describe(Counter(cell.status for cell in kept))})."


def describe(counts: Mapping[str, int]) -> str:
    """Return counts by status as words: ``"2 running, 1 failed"``."""
    return ", ".join(f"{count} {schema.status_in_words(status)}" for status, count in sorted(counts.items()))


def _sections(cells: Iterable[CellRun]) -> list[Section]:
    """Return a section for each data set and way to evaluate on it, ordered by task and scale."""
    together: dict[tuple[str, ...], list[CellRun]] = defaultdict(list)
    for cell in cells:
        place = cell.tags[schema.TAG_TASK], cell.tags[schema.TAG_SCALE], cell.tags[schema.TAG_METRIC]
        together[*place, *_evaluated_on(cell)].append(cell)
    keys = sorted(together, key=lambda key: [natural(part) for part in key])
    apart = {key: _apart(key, together) for key in keys}
    return [_section(together[key], apart[key]) for key in keys]


def _evaluated_on(cell: CellRun) -> tuple[str, ...]:
    """Return all that must be equal for two test scores of a task to be compared.

    Data that was read has a fingerprint, and the evaluation sets a description. Data that is generated
    follows from the task's options, which also stand for both in runs of versions that recorded neither.
    """
    data, evals = cell.tags.get(schema.TAG_DATA, ""), cell.tags.get(schema.TAG_EVALS, "")
    if data and evals:
        return data, evals
    options = (f"{key}={value}" for key, value in sorted(cell.params.items()) if key.startswith("task."))
    return data, evals, *options


def _apart(key: tuple[str, ...], together: Mapping[tuple[str, ...], Sequence[CellRun]]) -> dict[str, str]:
    """Return the task's settings, or else its data, that tell a section from others of task and scale."""
    others = [cells[0] for other, cells in together.items() if other[:2] == key[:2]]
    if len(others) == 1:
        return {}
    cell = together[key][0]
    settings = sorted(name for name in cell.params if name.startswith("task."))
    found = {
        name: cell.params[name]
        for name in settings
        if len({other.params.get(name) for other in others}) > 1
        and len({other.params.get(name) for other in together[key]}) == 1
    }
    data = cell.tags.get(schema.TAG_DATA, "")
    if data and len({other.tags.get(schema.TAG_DATA) for other in others}) > 1:
        found["data"] = data[:12]
    return found


def _section(cells: Sequence[CellRun], apart: Mapping[str, str]) -> Section:
    first = cells[0]
    metric = metric_of(first)
    members = grouped(cells)
    changed = [departures(group[0].params) for group in members]
    rows = [
        _row(group, metric, found, options)
        for group, found, options in zip(members, changed, _differing_options(members), strict=True)
    ]
    scale = first.tags[schema.TAG_SCALE]
    task = first.tags[schema.TAG_TASK]
    notes = list(_notes(task, scale, rows, changed))
    for row, group in zip(rows, members, strict=True):
        notes += unequal_code(row.label, group)
    notes += _unequal_speeds(members)
    ranked = tuple(sorted(rows, key=lambda row: _rank(row, metric.higher_is_better)))
    if scale != "smoke":
        notes += uncarried(ranked, metric)
    return Section(
        task=task,
        scale=scale,
        apart=apart,
        data=first.tags.get(schema.TAG_DATA, ""),
        metric=metric,
        baselines=baselines_of(cells, schema.BASELINE, metric.name),
        validation_baselines=baselines_of(cells, schema.BASELINE_VALIDATION, metric.name),
        rows=ranked,
        notes=tuple(notes),
        evals=first.tags.get(schema.TAG_EVALS, ""),
    )


def unequal_code(label: str, cells: Collection[CellRun]) -> list[str]:
    """Return a note where the runs that a row averages were made with different code of plug-ins."""
    if len({cell.tags.get(schema.TAG_CODE, "") for cell in cells}) < 2:
        return []
    return [
        f"{label}: a plug-in's code changed between its runs, as `seqsuite results compare RUN RUN` shows; "
        "--force runs them again."
    ]


def _unequal_speeds(groups: Iterable[Sequence[CellRun]]) -> list[str]:
    """Return a note where runs of the same cell but for the seed were not equally fast."""
    for group in groups:
        told = (cell.metrics.get(schema.TOKENS_PER_SECOND) for cell in group)
        speeds = [speed for speed in told if speed]
        if speeds and max(speeds) > _UNEQUAL * min(speeds):
            return [
                "Speeds are no comparison: those of one row's seeds differ by more than half, as with other "
                "threads or beside other work."
            ]
    return []


def metric_of(cell: CellRun) -> MetricInfo:
    """Return the metric as it is recorded; runs of earlier versions lack its unit and digits."""
    name = cell.tags[schema.TAG_METRIC]
    usual = "%" if name == "accuracy" else "bits" if name.startswith("bits_per_") else ""
    unit = cell.tags.get(schema.TAG_METRIC_UNIT, usual)
    return MetricInfo(
        name=name,
        unit=unit,
        higher_is_better=cell.tags[schema.TAG_HIGHER_IS_BETTER] == "true",
        digits=int(cell.tags.get(schema.TAG_METRIC_DIGITS, 2 if unit == "%" else 3)),
    )


def _notes(
    task: str, scale: str, rows: Sequence[Row], changed: Sequence[Mapping[str, str] | None]
) -> Iterable[str]:
    if scale == "smoke":
        yield SMOKE
    shared = {
        key: value
        for key, value in (changed[0] or {}).items()
        if not key.startswith("model.") and all(found and found.get(key) == value for found in changed)
    }
    if shared:
        usual = f"preset of scale={scale}" if scale in scales_of(task) else "defaults"
        yield f"Unlike the {usual}: {settings_text(shared)}."
    if any(found is None for found in changed):
        models = sorted({row.model for row, found in zip(rows, changed, strict=True) if found is None})
        yield f"Not checked against its preset, which is not installed here: {', '.join(models)}."


def _rank(row: Row, higher_is_better: bool) -> tuple[bool, float]:
    """Return a sort key that puts the best first and NaN last."""
    return math.isnan(row.score.mean), -row.score.mean if higher_is_better else row.score.mean


def _row(
    cells: Sequence[CellRun],
    metric: MetricInfo,
    changed: Mapping[str, str] | None,
    options: Mapping[str, str],
) -> Row:
    scores = _scores(cells)
    params = cells[0].params
    steps, parameters = params.get("train.steps"), cells[0].metrics.get(schema.PARAMETERS)
    if changed is not None:  # the model's own options stand with its name
        options = {key: value for key, value in options.items() if not key.startswith("model.")}
    return Row(
        model=cells[0].tags[schema.TAG_MODEL],
        departures=of_model(changed),
        options=options,
        settings={key: value for key, value in params.items() if _is_setting(key)},
        score=scores.get(metric.name, Score(math.nan)),
        values={int(cell.tags[schema.TAG_SEED]): math.nan for cell in cells} | _by_seed(cells, metric.name),
        by_seed={name: _by_seed(cells, name) for name in scores},
        scores=scores,
        validation=_mean(cells, schema.BEST + metric.name),
        steps=int(steps) if steps is not None else None,
        parameters=int(parameters) if parameters is not None else None,
        tokens_per_second=_mean(cells, schema.TOKENS_PER_SECOND),
        train_seconds=_mean(cells, schema.TRAIN_SECONDS),
        versions=tuple(sorted({cell.tags[schema.TAG_VERSION] for cell in cells})),
        run_ids=tuple(cell.run_id for cell in cells),
    )


def _scores(cells: Sequence[CellRun]) -> dict[str, Score]:
    """Return all that was measured; what a cell lacks is the mean of the others'."""
    every = [measured(cell) for cell in cells]
    found = {}
    for name in sorted({name for each in every for name in each}):
        values = [each[name] for each in every if name in each]
        found[name] = score_of(values)
    return found


def _by_seed(cells: Sequence[CellRun], name: str) -> dict[int, float]:
    found = ((int(cell.tags[schema.TAG_SEED]), measured(cell)) for cell in cells)
    return dict(sorted((seed, values[name]) for seed, values in found if name in values))


def _mean(cells: Sequence[CellRun], metric: str) -> float | None:
    values = [cell.metrics[metric] for cell in cells if metric in cell.metrics]
    return statistics.fmean(math.inf if value > LARGEST else value for value in values) if values else None


def baselines_of(cells: Sequence[CellRun], prefix: str, metric: str) -> dict[str, float]:
    """Return the mean of each baseline: of the usual one, then of those that are recorded by name."""
    found: dict[str, float] = {}
    usual = _mean(cells, prefix + metric)
    if usual is not None:
        found[cells[0].tags.get(schema.TAG_BASELINE, "baseline")] = usual
    names = {
        key.removeprefix(prefix).removesuffix(f"/{metric}")
        for cell in cells
        for key in cell.metrics
        if key.startswith(prefix) and key.endswith(f"/{metric}")
    }
    for name in sorted(names):
        value = _mean(cells, f"{prefix}{name}/{metric}")
        if value is not None:
            found.setdefault(name, value)
    return found


def _differing_options(groups: Sequence[Sequence[CellRun]]) -> list[dict[str, str]]:
    """Return for each group the settings in which it differs from other groups of the same model.

    Choices come first. The options of a choice, such as a block's, are compared only where the choice is the
    same: those of another block follow from it.
    """
    members = [cells[0] for cells in groups]
    values: dict[tuple[str, ...], set[str | None]] = defaultdict(set)
    for key in sorted({key for cell in members for key in cell.params if _is_option(key)}):
        for cell in members:
            values[_scope(cell, key)].add(cell.params.get(key))
    return [
        {
            key: cell.params[key]
            for key in sorted(cell.params, key=lambda key: (not key.endswith(".name"), key))
            if len(values.get(_scope(cell, key), ())) > 1
        }
        for cell in members
    ]


def _scope(cell: CellRun, key: str) -> tuple[str, ...]:
    """Return the key with all that must be equal for two cells' values of it to be compared."""
    owner = key.removesuffix(".name").rpartition(".")[0]
    while owner and f"{owner}.name" not in cell.params:
        owner = owner.rpartition(".")[0]
    return key, cell.tags[schema.TAG_MODEL], cell.params.get(f"{owner}.name", "")


def _is_setting(key: str) -> bool:
    return key != "seed" and not key.startswith("run.")


def _is_option(key: str) -> bool:
    return key not in _NO_OPTIONS and _is_setting(key)

"""Two runs side by side: the settings that differ, what each measured, and their curves over each other."""

import math
from collections.abc import Mapping

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader, only_run
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.registry import did_you_mean
from seqsuite.report import Column, Report, Section
from seqsuite.report import Row as Cells

ENVIRONMENT = {
    "seqsuite": schema.TAG_VERSION,
    "plug-ins": schema.TAG_CODE,
    "host": schema.TAG_HOST,
    "process": schema.TAG_PROCESS,
    "cell": schema.TAG_CELL,
    "grid": "mlflow.parentRunId",
}
"""What is told of where a run was made, by the tag that has it."""
_OF_EACH_RUN = ("process", "cell", "grid")
"""What is another in any two runs."""
_FIRST = (schema.TEST, schema.BEST)


def comparison_report(one: CellRun, other: CellRun, command: str) -> Report:
    """Return two runs as a report: what differs in settings and environment, and all metrics.

    Args:
        one: A run.
        other: Another.
        command: The command that it stands for.
    """
    names = one.run_id[:8], other.run_id[:8]
    sections = []
    differing = _differing(_facts(one), _facts(other))
    if differing:
        columns = (Column("key", "setting"), Column("one", names[0]), Column("other", names[1]))
        rows: list[Cells] = [
            {"key": key, "one": left, "other": right} for key, (left, right) in differing.items()
        ]
        sections.append(Section("settings", "What differs", columns, rows))
    if one.metrics or other.metrics:
        sections.append(_metrics(one, other, names))
    notes = [] if differing else ["The two runs differ in no setting that was recorded."]
    return Report(command, {}, sections, notes)


def find_run(reader: Reader, name: str) -> CellRun:
    """Return the run with a name or the beginning of an id, whatever became of it; ``latest`` is the newest.

    Raises:
        UserError: if there is none, or several cells are called so.
    """
    runs = reader.cells()
    found = (runs[0] if runs else None) if name == "latest" else only_run(reader.experiment, runs, name)
    if found is None:
        raise UserError(
            f"There is no run {name!r} in experiment {reader.experiment!r}: `seqsuite runs` lists them."
            f"{did_you_mean(name, {run.name for run in runs})}"
        )
    return found


def _facts(run: CellRun) -> dict[str, str]:
    environment = {
        name: run.tags[tag]
        for name, tag in ENVIRONMENT.items()
        if tag in run.tags and name not in _OF_EACH_RUN
    }
    params = {key: value for key, value in run.params.items() if key != "run.name"}  # part of the name
    return {"name": run.name, "status": schema.status_in_words(run.status), **params, **environment}


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    keys = dict.fromkeys([*one, *other])
    pairs = {key: (one.get(key, "–"), other.get(key, "–")) for key in keys}
    return {key: (left, right) for key, (left, right) in pairs.items() if left != right}


def _metrics(one: CellRun, other: CellRun, names: tuple[str, str]) -> Section:
    """Return all metrics, those of the test first, and by how much the second run's are larger."""
    keys = sorted({*one.metrics, *other.metrics}, key=lambda key: (not key.startswith(_FIRST), key))
    rows: list[Cells] = []
    for key in keys:
        left, right = one.metrics.get(key), other.metrics.get(key)
        both = left is not None and right is not None
        change = right - left if left is not None and right is not None else math.nan
        rows.append(
            {
                "key": key,
                "one": _shown(left),
                "other": _shown(right),
                "change": f"{change:+.4g}" if both and math.isfinite(change) else "",
                "one_value": left,
                "other_value": right,
            }
        )
    columns = (
        Column("key", "metric"),
        Column("one", names[0], "number"),
        Column("other", names[1], "number"),
        Column("change", "second − first", "number", optional=True),
    )
    return Section("metrics", "What was measured", columns, rows)


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"

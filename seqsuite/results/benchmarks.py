"""Benchmarks in MLflow and in files: a run each, with its numbers as metrics and its report as a file."""

import json
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import open_store
from seqsuite.report import Report, Section, as_json, from_json
from seqsuite.results.growth_tables import write_benchmark

EXPERIMENT = "seqsuite-bench"
"""The experiment that benchmarks are recorded in."""
FORMAT = "seqsuite benchmarks 1"
QUICK = "--quick shows only that things run: its sizes are tiny, and its numbers say nothing about speed."
"""What stands beside all that a quick benchmark measured."""
_SECONDS = "bench/seconds"
_NUMBERS = ("count", "quantity", "ratio", "share", "seconds", "bytes", "error", "number")
_FORBIDDEN = re.compile(r"[^\w\-. :/]+")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that was run.

    Attributes:
        what: Which, such as ``scan``.
        report: What it found; its command says how it was called.
        seconds: How long it took, or ``None`` if that was not recorded.
    """

    what: str
    report: Report
    seconds: float | None = None


def record_benchmark(what: str, report: Report, seconds: float) -> str:
    """Record what a benchmark found as a finished run.

    Args:
        what: Which benchmark, such as ``scan``.
        report: What it found.
        seconds: How long it took.

    Returns:
        The run's id.

    Raises:
        UserError: if the store cannot be written.
    """
    store = open_store(EXPERIMENT)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for style in ("json", "md"):
            files.append(Path(folder) / f"{what}.{style}")
            with files[-1].open("w", encoding="utf-8") as file:
                write_benchmark(report, style, file)
        note = files[-1].read_text(encoding="utf-8")
        run_id = store.start_benchmark(what, {"command": report.command, **report.machine}, note)
        store.metrics(run_id, dict(metrics(report)) | {_SECONDS: seconds})
        for path in files:
            store.artifact(run_id, path)
    store.finish(run_id, "FINISHED")
    return run_id


def recorded_benchmarks() -> list[Benchmark]:
    """Return the benchmarks in the store, of each command the newest that can be read, newest first.

    Raises:
        UserError: if there is no store, or none in it that can be read.
    """
    store = open_store(EXPERIMENT, create=False)
    found: dict[str, Benchmark] = {}
    problems: list[UserError] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in store.search(f"tags.`{schema.TAG_KIND}` = 'benchmark'"):
            if run.status != "FINISHED" or run.params.get("command", "") in found:
                continue
            with store.errors():
                path = store.client.download_artifacts(run.run_id, f"{run.name}.json", folder)
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            told = f"The report of run {run.run_id[:8]} in {EXPERIMENT}"
            try:
                report = _report(content, told)
            except UserError as error:  # an earlier version recorded it
                problems.append(error)
                continue
            command = run.params.get("command", run.run_id)
            found[command] = Benchmark(run.name, report, run.metrics.get(_SECONDS))
    if problems and not found:
        raise problems[0]
    if not found:
        raise UserError("No benchmark was recorded yet: start with `seqsuite bench scan`.")
    return list(found.values())


def recorded_commands() -> set[str]:
    """Return the commands of the benchmarks that finished; none where there is no store."""
    try:
        runs = open_store(EXPERIMENT, create=False).search(f"tags.`{schema.TAG_KIND}` = 'benchmark'")
    except UserError:
        return set()
    return {run.params.get("command", "") for run in runs if run.status == "FINISHED"}


def export_benchmarks(benchmarks: Sequence[Benchmark], path: Path) -> None:
    """Write benchmarks to a file, one a line; the same benchmarks give the same bytes.

    Raises:
        UserError: if it cannot be written.
    """
    lines = [
        json.dumps(
            {"what": found.what, "seconds": found.seconds, "report": json.loads(as_json(found.report))},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for found in benchmarks
    ]
    text = f'{{"format":{json.dumps(FORMAT)},"benchmarks":[\n' + ",\n".join(lines) + "\n]}\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"The file {path} cannot be written: {error.strerror}.") from error


def read_benchmarks(path: Path) -> list[Benchmark] | None:
    """Return the benchmarks in a file, or ``None`` if it is one of something else.

    Raises:
        UserError: if it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    try:
        return [
            Benchmark(str(entry["what"]), _report(entry["report"], f"The file {path}"), entry["seconds"])
            for entry in content["benchmarks"]
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"The file {path} is damaged: {error!r} is wrong or missing.") from None


def is_quick(report: Report) -> bool:
    """Return whether a benchmark took tiny sizes, to see that it works."""
    return "--quick" in shlex.split(report.command)


def labelled(report: Report) -> Report:
    """Return the report of a quick benchmark with :data:`QUICK` below each of its tables."""
    return replace(
        report,
        sections=[replace(section, notes=[QUICK, *section.notes]) for section in report.sections],
    )


def _report(content: Any, told: str) -> Report:
    try:
        return from_json(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{told} has no columns, or is damaged ({error!r}): run the benchmark again."
        ) from None


def metrics(report: Report) -> Iterator[tuple[str, float]]:
    """Yield a report's numbers, in base units, by ``<section>/<what its row is of>/<column>``."""
    for section in report.sections:
        for row_name, row in zip(_row_names(section), section.rows, strict=True):
            for column in section.columns:
                value = row.get(column.key)
                if column.kind in _NUMBERS and isinstance(value, int | float):
                    yield _FORBIDDEN.sub("_", f"{section.kind}/{row_name}/{column.key}"), float(value)


def _row_names(section: Section) -> list[str]:
    """Return what each row is of, in the words of its columns; numbered where these are the same."""
    shared = " ".join(str(value) for value in section.about.values())
    names = []
    for row in section.rows:
        words = [
            shared,
            *(str(row[column.key]) for column in section.columns if column.is_text and row.get(column.key)),
        ]
        names.append(" ".join(filter(None, words)).replace("/", "_") or "all")
    return [f"{name} {number}" if names.count(name) > 1 else name for number, name in enumerate(names)]

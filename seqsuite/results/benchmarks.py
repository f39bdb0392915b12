"""Benchmarks in MLflow: a run each, with its numbers as metrics and its tables as files and description."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from seqsuite.experiments.tracking.store import open_store
from seqsuite.report import Report, Section, write

EXPERIMENT = "seqsuite-bench"
"""The experiment that benchmarks are recorded in."""
_NUMBERS = ("count", "quantity", "ratio", "share", "seconds", "bytes", "error", "number")
_FORBIDDEN = re.compile(r"[^\w\-. :/]+")


def record_benchmark(what: str, report: Report) -> str:
    """Record what a benchmark found as a finished run.

    Args:
        what: Which benchmark, such as ``scan``.
        report: What it found.

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
                write(report, style, file)
        note = files[-1].read_text(encoding="utf-8")
        run_id = store.start_benchmark(what, {"command": report.command, **report.machine}, note)
        store.metrics(run_id, dict(metrics(report)))
        for path in files:
            store.artifact(run_id, path)
    store.finish(run_id, "FINISHED")
    return run_id


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

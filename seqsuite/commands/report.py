"""``seqsuite report``: all studies and results as one page."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seqsuite.commands.console import make_console
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.addresses import public_uri
from seqsuite.experiments.tracking.export import FileReader
from seqsuite.experiments.tracking.reader import Reader, open_reader
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.report.outputs import check_output
from seqsuite.results.benchmarks import EXPERIMENT, Benchmark, read_benchmarks, recorded_benchmarks
from seqsuite.results.filters import parse_filters
from seqsuite.results.page import report_page
from seqsuite.results.page_parts import ReadSamples
from seqsuite.results.samples import read_samples


@dataclass(frozen=True)
class _Found:
    """What there is to show, as :func:`~seqsuite.results.page.report_page` takes it."""

    reader: Reader | None
    benchmarks: Sequence[Benchmark]
    origin: str
    samples: ReadSamples | None = None
    pages: str = ""
    browse: str = ""


def write_report(filters: Sequence[str], *, output: Path, source: Path | None, experiment: str) -> None:
    """Write the page of the runs that meet all filters.

    Args:
        filters: Conditions on settings.
        output: The HTML file, which is replaced.
        source: File of runs to read in place of MLflow; it has no samples.
        experiment: MLflow experiment to read.

    Raises:
        UserError: if there are no finished runs, or a file cannot be read or written.
    """
    check_output("--output", output)
    conditions = parse_filters(filters)
    if source is None:
        found = _in_store(experiment)
    else:
        benchmarks = read_benchmarks(source)
        reader = FileReader(source) if benchmarks is None else None
        found = _Found(reader, benchmarks or (), origin=source.name)
    if found.reader is None and conditions:
        raise UserError(f"There are no runs to choose from by {filters[0]}, but benchmarks: leave it out.")
    with make_console(stderr=True).status("Drawing the studies"):
        page = report_page(filters=conditions, **vars(found))
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}.") from error
    print(f"The report is in {output}.", file=sys.stderr)


def _in_store(experiment: str) -> _Found:
    """Return what is in the store: runs, or benchmarks where there are no finished runs, or both.

    Raises:
        UserError: if there is neither, or the store cannot be read.
    """
    benchmarks = _recorded()
    try:
        reader = open_reader(experiment)
    except UserError:
        if not benchmarks:
            raise
        return _Found(None, benchmarks, origin=f"the experiment {EXPERIMENT}", browse=_ui(EXPERIMENT))
    if benchmarks and not any(run.status == "FINISHED" for run in reader.cells()):
        return _Found(None, benchmarks, origin=f"the experiment {EXPERIMENT}", browse=_ui(EXPERIMENT))
    store = open_store(experiment, create=False)
    pages = run_pages(store)
    return _Found(
        reader,
        benchmarks,
        origin=f"the experiment {experiment}",
        samples=partial(read_samples, store),
        pages=pages,
        browse="" if pages else _ui(experiment),
    )


def run_pages(store: Store) -> str:
    """Return the address of the runs' pages on the server that the store is, which a run's id completes.

    Of a store that is no server there is none.
    """
    if not store.uri.startswith(("http://", "https://")):
        return ""
    return f"{public_uri(store.uri).rstrip('/')}/#/experiments/{store.experiment_id}/runs/"


def _ui(experiment: str) -> str:
    chosen = [] if experiment == "seqsuite" else ["--experiment", experiment]
    return shlex.join(["seqsuite", "ui", *chosen])


def _recorded() -> list[Benchmark]:
    """Return the benchmarks in the store; a report needs none."""
    try:
        return recorded_benchmarks()
    except UserError:
        return []

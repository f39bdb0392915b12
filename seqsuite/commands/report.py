"""``seqsuite report``: all studies and results as one page."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from seqsuite.commands.console import make_console
from seqsuite.commands.results import reader_of
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import open_store
from seqsuite.report.outputs import check_output
from seqsuite.results.benchmarks import Benchmark, read_benchmarks, recorded_benchmarks
from seqsuite.results.filters import parse_filters
from seqsuite.results.page import ReadSamples, report_page
from seqsuite.results.samples import read_samples


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
    benchmarks = read_benchmarks(source) if source is not None else None
    reader = reader_of(source, experiment) if benchmarks is None else None
    samples: ReadSamples | None = None
    if source is None:
        samples = partial(read_samples, open_store(experiment, create=False))
        benchmarks = _recorded()
    origin = f"the experiment {experiment}" if source is None else source.name
    conditions = parse_filters(filters)
    with make_console(stderr=True).status("Drawing the studies"):
        page = report_page(reader, conditions, origin=origin, samples=samples, benchmarks=benchmarks or ())
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}.") from error
    print(f"The report is in {output}.", file=sys.stderr)


def _recorded() -> list[Benchmark]:
    """Return the benchmarks in the store; a report needs none."""
    try:
        return recorded_benchmarks()
    except UserError:
        return []

"""``seqsuite results``: the table of finished runs, or a metric by two settings; runs as a file."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seqsuite import report
from seqsuite.commands.benchmarks import show_benchmarks
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.export import FileReader, export_runs
from seqsuite.experiments.tracking.reader import Reader, open_reader
from seqsuite.report.outputs import check_output
from seqsuite.report.pictures import PictureFile, check_picture
from seqsuite.results.benchmarks import EXPERIMENT, read_benchmarks, recorded_benchmarks
from seqsuite.results.best import BestReader
from seqsuite.results.collect import collect, nothing_found, select
from seqsuite.results.filters import Filter, parse_filters
from seqsuite.results.formats import COMMAND, print_results
from seqsuite.results.groups import newest
from seqsuite.results.pivot import Axes, pivot
from seqsuite.results.selection import SelectedReader
from seqsuite.wording import counted


def show_results(
    filters: Sequence[str],
    *,
    style: str,
    paper: bool,
    figure: PictureFile | None,
    experiment: str,
    rows: str | None = None,
    cols: str | None = None,
    metric: str | None = None,
    source: Path | None = None,
    export: Path | None = None,
    best_of: str | None = None,
    intervals: bool = False,
) -> None:
    """Print the results that meet all filters, and draw and write them if asked to.

    Args:
        filters: Conditions on settings.
        style: One of :data:`seqsuite.report.FORMATS`.
        paper: Whether to put published numbers beside ours.
        figure: Picture to draw.
        experiment: MLflow experiment to read.
        rows: Settings that make the rows of a pivot table, in place of the ranking.
        cols: Setting that makes its columns.
        metric: What it shows.
        source: File of runs to read in place of MLflow.
        export: File to write the runs to.
        intervals: Whether tables show the intervals of means, and not their standard deviations.
        best_of: Settings, by commas, of which each row has the values that were best on validation data.

    Raises:
        UserError: if a filter cannot be used, nothing is left to show, or a file cannot be read or written.
    """
    if figure is not None:
        check_picture(figure)
    check_output("--export", export)
    benchmarks = read_benchmarks(source) if source is not None else None
    if benchmarks is not None or (source is None and experiment == EXPERIMENT):
        of_runs = {"--rows": rows, "--cols": cols, "--metric": metric, "--best-of": best_of}
        given = [option for option, value in (of_runs | {"--interval": intervals}).items() if value]
        if given:
            raise UserError(f"Benchmarks have tables of their own: leave {', '.join(given)} out.")
        show_benchmarks(benchmarks or recorded_benchmarks(), filters, style, figure, export)
        return
    if rows is None and (cols or metric):
        raise UserError("--cols and --metric are those of a pivot table: say what its rows are, by --rows.")
    conditions = parse_filters(filters)
    reader = reader_of(source, experiment)
    if best_of is not None:
        reader = BestReader(SelectedReader(reader, conditions), best_of.split(","))
    if rows is not None:
        _print_pivot(reader, conditions, Axes(tuple(rows.split(",")), cols, metric or ""), style, intervals)
    else:
        found = collect(reader, filters=conditions, paper=paper)
        command = shlex.join([*shlex.split(COMMAND), *filters])
        print_results(found, style, command=command, intervals=intervals)
    if figure is not None:
        from seqsuite.results.figures import compare

        compare(reader, collect(reader, filters=conditions, paper=paper), figure)
        print(f"The picture is in {figure}.", file=sys.stderr)
        if rows is not None:
            print("It is of all runs: --rows, --cols and --metric are the table's.", file=sys.stderr)
    if export is not None:
        count = export_runs(reader, select(newest(reader.cells()), conditions), export)
        print(f"{counted(count, 'run')} in {export}.", file=sys.stderr)


def reader_of(source: Path | None, experiment: str) -> Reader:
    """Return a reader of a file of runs, or of the store.

    Raises:
        UserError: if it cannot be read.
    """
    return open_reader(experiment) if source is None else FileReader(source)


def _print_pivot(
    reader: Reader, conditions: Sequence[Filter], axes: Axes, style: str, intervals: bool
) -> None:
    cells = newest(reader.cells())
    kept = select(cells, conditions)
    if not kept:
        raise UserError(nothing_found(reader, cells, kept, conditions))
    options = ["--rows", ",".join(axes.rows)]
    options += ["--cols", axes.cols] if axes.cols else []
    options += ["--metric", axes.metric] if axes.metric else []
    command = shlex.join([*shlex.split(COMMAND), *options])
    report.write(report.Report(command, {}, pivot(kept, axes)), style, sys.stdout, intervals=intervals)

"""``seqsuite results`` of benchmarks: their reports again, a picture of them, and a file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.report.pictures import PictureFile
from seqsuite.results.benchmarks import Benchmark, export_benchmarks
from seqsuite.results.filters import parse_filters
from seqsuite.results.growth_tables import write_benchmark


def show_benchmarks(
    benchmarks: Sequence[Benchmark],
    filters: Sequence[str],
    style: str,
    figure: PictureFile | None,
    export: Path | None,
) -> None:
    """Print the reports of benchmarks, and draw and write them if asked to.

    Args:
        benchmarks: What there is.
        filters: ``benchmark=NAME,…`` for some of them.
        style: One of :data:`seqsuite.report.FORMATS`.
        figure: Picture to draw.
        export: File to write them to.

    Raises:
        UserError: if a filter is of something else, nothing is left, or a file cannot be written.
    """
    chosen = _chosen(benchmarks, filters)
    for place, benchmark in enumerate(chosen):
        if place:
            print()
        write_benchmark(benchmark.report, style, sys.stdout)
    if figure is not None:
        from seqsuite.results.benchmark_figure import draw  # matplotlib, which no table needs

        draw([benchmark.report for benchmark in chosen], figure)
        print(f"The picture is in {figure}.", file=sys.stderr)
    if export is not None:
        export_benchmarks(chosen, export)
        print(f"{len(chosen)} benchmark{'s' * (len(chosen) != 1)} in {export}.", file=sys.stderr)


def _chosen(benchmarks: Sequence[Benchmark], filters: Sequence[str]) -> list[Benchmark]:
    names = sorted({benchmark.what for benchmark in benchmarks})
    chosen = list(benchmarks)
    for wanted in parse_filters(filters):
        if wanted.key != "benchmark" or wanted.relation != "=":
            raise UserError("Benchmarks are chosen by benchmark=NAME alone: leave the other filters out.")
        for name in wanted.values:
            if name not in names:
                raise UserError(
                    f"There is no benchmark {name!r}: there is {', '.join(names)}.{did_you_mean(name, names)}"
                )
        chosen = [benchmark for benchmark in chosen if benchmark.what in wanted.values]
    return chosen

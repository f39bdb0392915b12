"""``seqsuite results``: the table of finished runs."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seqsuite.experiments.tracking.reader import open_reader
from seqsuite.report.pictures import check_picture
from seqsuite.results.collect import collect
from seqsuite.results.filters import parse_filters
from seqsuite.results.formats import COMMAND, print_results


def show_results(
    filters: Sequence[str], *, style: str, paper: bool, figure: Path | None, experiment: str
) -> None:
    """Print the results that meet all filters, and draw them if asked to.

    Raises:
        UserError: if a filter cannot be used, nothing is left to show, or the figure cannot be written.
    """
    if figure is not None:
        check_picture(figure)
    conditions = parse_filters(filters)
    reader = open_reader(experiment)
    found = collect(reader, filters=conditions, paper=paper)
    print_results(found, style, command=shlex.join([*shlex.split(COMMAND), *filters]))
    if figure is not None:
        from seqsuite.results.figures import compare

        compare(reader, found, figure)
        print(f"The picture is in {figure}.", file=sys.stderr)

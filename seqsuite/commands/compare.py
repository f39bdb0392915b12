"""``seqsuite results compare`` and ``runs diff``: two runs side by side."""

import shlex
import sys
from collections.abc import Sequence

from seqsuite import report
from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.report.pictures import PictureFile, check_picture
from seqsuite.results.comparison import comparison_report, find_run


def compare_runs(
    reader: Reader, names: Sequence[str], style: str = "table", figure: PictureFile | None = None
) -> None:
    """Print the settings in which two runs differ and their metrics, and draw their curves if asked to.

    Args:
        reader: Where the runs are.
        names: Two names, or beginnings of ids.
        style: One of :data:`seqsuite.report.FORMATS`.
        figure: Picture of their curves over each other.

    Raises:
        UserError: if these are not two, there is no such run, or the picture cannot be written.
    """
    if len(names) != 2:
        raise UserError(f"results compare takes two runs, and these are {len(names)}: write RUN RUN.")
    if figure is not None:
        check_picture(figure)
    one, other = (find_run(reader, name) for name in names)
    command = shlex.join(["seqsuite", "results", "compare", *names])
    report.write(comparison_report(one, other, command), style, sys.stdout)
    if figure is not None:
        from seqsuite.results.curves import draw_curves  # matplotlib, which no table needs

        draw_curves(reader, [one, other], figure)
        print(f"The picture is in {figure}.", file=sys.stderr)

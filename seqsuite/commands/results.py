"""``seqsuite results``: the table of finished runs."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.tracking.store import open_store
from seqsuite.registry import did_you_mean
from seqsuite.results.figures import compare
from seqsuite.results.formats import print_results
from seqsuite.results.table import collect

_FILTERS = ("task", "model", "scale")


def show_results(
    filters: Sequence[str], *, style: str, paper: bool, figure: Path | None, experiment: str
) -> None:
    """Print the results that pass ``task=…``, ``model=…`` and ``scale=…``, and draw them if asked to.

    Raises:
        UserError: if a filter is unknown, nothing is left to show, or the figure cannot be written.
    """
    wanted: dict[str, list[str]] = {key: [] for key in _FILTERS}
    for cell in expand_grid(filters):
        for key, value in cell.items():
            if key not in _FILTERS:
                hint = did_you_mean(key, _FILTERS)
                raise UserError(f"Unknown filter {key!r}: choose from {', '.join(_FILTERS)}.{hint}")
            wanted[key].append(str(value))
    store = open_store(experiment, create=False)
    found = collect(store, tasks=wanted["task"], models=wanted["model"], scales=wanted["scale"], paper=paper)
    print_results(found, style)
    if figure is not None:
        with tempfile.TemporaryDirectory() as folder:
            drawn = compare(store, found, Path(folder))
            try:
                shutil.copyfile(drawn, figure)
            except OSError as error:
                raise UserError(f"--figure {figure} cannot be written: {error.strerror}.") from error

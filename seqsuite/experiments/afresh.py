"""Cells that are to begin anew, whatever of them is finished or kept (``--force``)."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.tracking.lease import Lease, LeaseHeld

_MARK = "begins-anew"


def begin_anew(cells: Iterable[CellConfig], *, takeover: bool = False) -> None:
    """Throw away what is kept of cells, and mark them: a finished run from before does not count for them.

    All are marked before the first one runs. So whatever stops the grid, the command without ``--force`` goes
    on with those that have begun, and begins the others anew too. Cells that another process runs are left.

    Args:
        cells: Those to begin anew; their data can be read.
        takeover: Whether to take cells over from processes that seem to be running them.

    Raises:
        UserError: if a cell's folder cannot be written to.
    """
    for cell in cells:
        folder = cell.work_folder(cell.make_task().fingerprint())
        with suppress(LeaseHeld), Lease.take(folder, takeover=takeover):
            shutil.rmtree(folder, ignore_errors=True)
            mark(folder)


def mark(folder: Path) -> None:
    """Mark the cell of a folder, which is made; the mark is gone with the folder.

    Raises:
        UserError: if the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be written ({error.strerror}): make room there or set run.output to "
            "another folder."
        ) from error


def is_marked(folder: Path) -> bool:
    """Return whether the cell of a folder was to begin anew."""
    return (folder / _MARK).exists()


def marked_folders(outputs: Iterable[Path]) -> set[Path]:
    """Return the folders of cells that are to begin anew, and have not finished since, below some folders."""
    return {mark.parent for output in outputs for mark in output.glob(f"*/{_MARK}")}

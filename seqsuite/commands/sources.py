"""What a command's MODEL or RUN stands for: a finished run, a folder, or a name on the Hugging Face hub."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import CellRun, Store, open_store
from seqsuite.models.formats.files import locate
from seqsuite.registry import did_you_mean

_NAMES = 5  # runs to name where one is not found


@dataclass(frozen=True)
class Source:
    """Where a model is.

    Attributes:
        folder: Its folder, which may be a temporary one.
        name: What to call it.
        identity: What tells it from others: a run's id, or where the folder is.
        store: Where the run is recorded, if it is a run's.
    """

    folder: Path
    name: str
    identity: str
    store: Store | None = None


@contextmanager
def open_source(source: str, experiment: str) -> Iterator[Source]:
    """Yield where a model is; its folder is there for as long as the block lasts.

    Args:
        source: A folder; else, if there is a slash in it, a name on the hub; else a finished run's name, the
            beginning of its id, or ``latest``.
        experiment: MLflow experiment that the run is in.

    Raises:
        UserError: if there is none such.
    """
    if "/" in source or Path(source).is_dir():
        folder = locate(source)
        yield Source(folder, Path(source).resolve().name, str(folder.resolve()))
        return
    store = open_store(experiment, create=False)
    run = find_run(store, source)
    with tempfile.TemporaryDirectory() as temporary:
        yield Source(store.model_folder(run.run_id, Path(temporary)), run.name, run.run_id, store)


def find_run(store: Store, name: str) -> CellRun:
    """Return the newest finished run with this name or beginning of an id; ``latest`` is the newest of all.

    Raises:
        UserError: if there is none.
    """
    finished = store.finished()
    for run in finished:
        if name in ("latest", run.name) or run.run_id.startswith(name):
            return run
    names = list(dict.fromkeys(run.name for run in finished))
    if not names:
        raise UserError(f"No run is finished in experiment {store.experiment!r}: `seqsuite run` makes one.")
    more = ", …" if len(names) > _NAMES else ""
    raise UserError(
        f"No finished run {name!r} in experiment {store.experiment!r}; the newest are: "
        f"{', '.join(names[:_NAMES])}{more}.{did_you_mean(name, names)}"
    )

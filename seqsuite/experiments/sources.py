"""What a command's MODEL or RUN stands for: a finished run, a folder, or a name on the Hugging Face hub."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import only_run
from seqsuite.experiments.tracking.store import CellRun, Store, open_store
from seqsuite.models.formats.files import locate
from seqsuite.registry import did_you_mean

_NAMES = 5  # runs to name where one is not found
_LATEST = "latest"

Able = Callable[[Store, CellRun], bool]
"""Says whether a run can do what a command is for."""


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
def open_source(
    source: str, experiment: str, able: Able | None = None, ability: str = ""
) -> Iterator[Source]:
    """Yield where a model is; its folder is there for as long as the block lasts.

    Args:
        source: A folder; else, if there is a slash in it, a name on the hub; else a finished run's name, the
            beginning of its id, or ``latest``.
        experiment: MLflow experiment that the run is in.
        able: What ``latest`` must meet.
        ability: What that is, for the message, such as ``"generates samples"``.

    Raises:
        UserError: if there is none such, or several.
    """
    if "/" in source or Path(source).is_dir():
        folder = locate(source)
        yield Source(folder, Path(source).resolve().name, str(folder.resolve()))
        return
    store = open_store(experiment, create=False)
    run = find_run(store, source, able, ability)
    with tempfile.TemporaryDirectory() as temporary:
        yield Source(store.model_folder(run.run_id, Path(temporary)), run.name, run.run_id, store)


def find_run(store: Store, name: str, able: Able | None = None, ability: str = "") -> CellRun:
    """Return the finished run with this name or beginning of an id; ``latest`` is the newest that is able.

    Of a cell that was run again the newest run counts.

    Raises:
        UserError: if there is none, or the name is that of several cells.
    """
    finished = store.finished()
    if name == _LATEST:
        run = next((run for run in finished if able is None or able(store, run)), None)
        if run is None and finished:
            raise UserError(
                f"No finished run in experiment {store.experiment!r} {ability}; the newest is "
                f"{finished[0].name}: `seqsuite run` makes others."
            )
    else:
        run = only_run(store.experiment, finished, name)
    if run is not None:
        return run
    names = list(dict.fromkeys(run.name for run in finished))
    if not names:
        raise UserError(f"No run is finished in experiment {store.experiment!r}: `seqsuite run` makes one.")
    more = ", …" if len(names) > _NAMES else ""
    raise UserError(
        f"No finished run {name!r} in experiment {store.experiment!r}; the newest are: "
        f"{', '.join(names[:_NAMES])}{more}.{did_you_mean(name, names)}"
    )


def has_sample(store: Store, run: CellRun) -> bool:
    """Return whether a run's task has something to generate: then a sample was stored with it."""
    with store.errors():
        return any(Path(file.path).stem == "sample" for file in store.client.list_artifacts(run.run_id))


def reads_text(store: Store, run: CellRun) -> bool:
    """Return whether a run is of text, by bytes or by a tokenizer, which then lies beside the model."""
    return run.tags.get(schema.TAG_METRIC) == "bits_per_byte"

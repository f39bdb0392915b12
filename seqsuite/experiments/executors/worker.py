"""What a worker does, wherever it is: run one cell after the other with a store and threads of its own."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from seqsuite.allocator import keep_freed_memory
from seqsuite.experiments.cell import CellResult, Host, Illustrate, run_cell
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking.lease import STALE_SECONDS
from seqsuite.experiments.tracking.store import Store, reopen_store
from seqsuite.experiments.training.callbacks import Callback

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class StoreAddress:
    """How a worker finds the store that its parent has opened and initialised.

    Attributes:
        uri: Address of the tracking store; it may hold a password, and is not shown.
        experiment_id: MLflow's id of the experiment.
        experiment: Its name.
    """

    uri: str
    experiment_id: str
    experiment: str

    @classmethod
    def of(cls, store: Store) -> "StoreAddress":
        """Return a store's address."""
        return cls(store.uri, store.experiment_id, store.experiment)

    def __repr__(self) -> str:
        return f"StoreAddress({self.experiment!r})"


@dataclass(frozen=True)
class Job:
    """A cell, and what running it takes; it can be pickled.

    Attributes:
        config: The cell.
        threads: Threads of PyTorch; ``None`` leaves them as they are.
        store: Where its run is recorded; ``None`` keeps it in its journal.
        illustrate: Draws its curves.
        takeover: Whether to take it over from a process that seems to be running it.
        retry_failed: Whether to start afresh if it diverged.
        parent_run_id: Run of its grid.
        folder: Working folder, as data may be named relative to it.
        attempt: How many workers of this grid died with it before.
        stop_file: The cell stops, and keeps its work, once this file is there.
    """

    config: CellConfig
    threads: int | None
    store: StoreAddress | None
    illustrate: Illustrate
    takeover: bool
    retry_failed: bool
    parent_run_id: str | None
    folder: Path
    attempt: int = 0
    stop_file: Path | None = None


def run_job(job: Job, interruption: InterruptionFlag) -> CellResult:
    """Run a cell in this process.

    Raises:
        Interrupted: after an interruption, with a checkpoint saved.
    """
    os.chdir(job.folder)
    keep_freed_memory()
    store = job.store
    host = Host(
        store=None if store is None else reopen_store(store.uri, store.experiment_id, store.experiment),
        make_display=lambda config, task, start: nullcontext(Callback()),
        illustrate=job.illustrate,
        interruption=interruption,
        takeover=job.takeover,
        retry_failed=job.retry_failed and not job.attempt,  # what a worker that died did of it counts
    )
    with using_threads(job.threads), _watching(job.stop_file, interruption):
        deadline = time.monotonic() + STALE_SECONDS + 10
        while True:
            result = run_cell(job.config, host, parent_run_id=job.parent_run_id)
            # The lease of a worker that died on another machine lasts a minute.
            if result.outcome != "busy" or not job.attempt or time.monotonic() > deadline:
                return result
            if interruption.requested:
                raise Interrupted
            time.sleep(_POLL_SECONDS)


def run_shared_job(job: Job) -> CellResult | None:
    """Run a cell where signals are the scheduler's: it stops with its file.

    Returns:
        What became of it; ``None`` if it was stopped.
    """
    try:
        return run_job(job, InterruptionFlag())
    except Interrupted:
        return None


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use so many threads within the context; ``None`` changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _watching(stop_file: Path | None, interruption: InterruptionFlag) -> Iterator[None]:
    """Set the flag once the file is there."""
    if stop_file is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_SECONDS):
            if stop_file.exists():
                interruption.requested = True
                return

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()

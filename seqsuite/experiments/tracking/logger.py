"""Writes a run without a journal: to be deleted with the last use of it in ``cell.py`` and ``trainer.py``."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import MAX_METRICS_PER_CALL, Store

FLUSH_SECONDS = 2.0


class CellLogger:
    """Writes one cell's run. As a context manager it ends the run by how the block ends.

    Left normally the run is FINISHED, by an interrupt KILLED, by any other exception FAILED. The first
    :meth:`finish` counts and later ones do nothing, so that no run is FINISHED after an interrupt.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self._store = store
        self._buffer: list[Any] = []
        self._time = 0
        self._flushed = time.monotonic()
        self._open = True

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record values at a step. They are written about every two seconds, and by :meth:`finish`."""
        from mlflow.entities import Metric

        # Of two values at one step MLflow calls the later one the last, so no two calls share a millisecond.
        self._time = now = max(int(time.time() * 1000), self._time + 1)
        self._buffer += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        if len(self._buffer) >= MAX_METRICS_PER_CALL or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what :meth:`log` holds back."""
        while self._buffer:
            batch = self._buffer[:MAX_METRICS_PER_CALL]
            with self._store.errors():
                self._store.client.log_batch(self.run_id, metrics=batch)
            # Only now: an interrupt in the call leaves the values to be written again, which MLflow allows.
            del self._buffer[: len(batch)]
        self._flushed = time.monotonic()

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file with the run, in ``folder`` of its artifacts."""
        self._store.artifact(self.run_id, path, folder)

    def model(self, folder: Path, *, name: str, params: Mapping[str, str]) -> None:
        """Publish the files in ``folder`` (``model.safetensors``, ``config.json``) as the run's model."""
        self._store.publish_model(self.run_id, folder, name=name, params=params)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags on the run."""
        self._store.log_batch(self.run_id, tags=tags)

    def finish(self, status: FinalStatus) -> None:
        """Write what is held back and end the run."""
        if not self._open:
            return
        self._open = False
        try:
            self.flush()
        except UserError:
            self._store.finish(self.run_id, "FAILED")
            raise
        self._store.finish(self.run_id, status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("FAILED" if issubclass(kind, Exception) else "KILLED")

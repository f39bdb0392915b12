"""What happens to a run, kept in a file first: MLflow may be away, and training never waits for it.

A journal is ``events.jsonl`` in a cell's folder: one JSON object a line, only ever appended to. An event is
in the file when the call returns, which a killed process does not undo, and on the disk within a second.
"""

import json
import os
import re
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import (
    EVENTS,
    Ended,
    Event,
    Measured,
    Published,
    RunHeader,
    Started,
    Stored,
    Tagged,
    read_events,
)
from seqsuite.experiments.tracking.processes import process_tags
from seqsuite.experiments.tracking.schema import FinalStatus

_DISK_SECONDS = 1.0
_METRIC_NAME = re.compile(r"[/\w.\- :]{1,250}")  # MLflow's own rule


class Journal:
    """The journal in one cell's folder; open it with :meth:`open`, by the process that holds the lease.

    All methods may be called from any thread, and raise :class:`~seqsuite.errors.UserError` if the disk
    is full or the file cannot be written; the journal stays whole.

    Attributes:
        folder: The cell's folder.
        run_id: The MLflow run, or ``None`` before it is created.
        status: How the run has ended last; ``None`` while it goes on and before it starts.
        header: What the run is of, as it was started last; ``None`` before.
    """

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self.run_id: str | None = None
        self.status: FinalStatus | None = None
        self.header: RunHeader | None = None
        self.path = folder / EVENTS
        self._descriptor = descriptor
        self._id = uuid.uuid4().hex
        self._steps: defaultdict[str, set[int]] = defaultdict(set)
        self._standing: dict[str, int] = {}
        self._tags: dict[str, str] = {}
        self._lock = threading.RLock()
        self._failure: OSError | None = None
        self._dirty = False
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_behind, name="journal", daemon=True)
        for event, _ in read_events(self.path):
            self._apply(event)
        self._flusher.start()

    @classmethod
    def open(cls, folder: Path) -> "Journal":
        """Open the journal in a folder, creating both if they are missing; a torn last line is dropped.

        Raises:
            UserError: if it is damaged or cannot be written.
        """
        path = folder / EVENTS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            _drop_torn_line(descriptor)
            _flush_folder(folder)
            return cls(folder, descriptor)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise _cannot_write(path, error) from error
            raise

    def start(
        self, header: RunHeader, run_id: str | None, last_steps: Mapping[str, int] | None = None
    ) -> None:
        """Record that the run starts, or goes on.

        Args:
            header: What it is of.
            run_id: Its MLflow run; if ``None``, the run that this journal has, or one that the uploader
                creates.
            last_steps: The last step of each metric that ``run_id`` has already, where it was not this
                journal that sent them (:meth:`.Store.last_steps`): nothing is recorded up to there.
        """
        tags = {**header.tags, **process_tags()}
        params = json.loads(json.dumps(dict(header.params), default=str))
        self._write(
            Started(
                time=_now(),
                journal=self._id,
                header=replace(header, params=params, tags=tags),
                run_id=run_id,
                standing=dict(last_steps or {}),
            )
        )

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at a step; a name that has one at this step keeps it.

        So a resumed run, which repeats the steps since its checkpoint, doubles nothing.
        """
        for name in values:
            if not _METRIC_NAME.fullmatch(name):
                raise UserError(
                    f"The metric's name {name!r} cannot be recorded: use letters, digits, spaces, / _ - . :"
                )
        with self._lock:
            new = {name: float(value) for name, value in values.items() if not self._stands(name, step)}
            if new:
                self._write(Measured(time=_now(), step=step, values=new))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Record a file of the cell's folder to keep with the run, in ``folder`` of its artifacts.

        The file is read when it is sent: it must stay as it is until then.
        """
        self._write(Stored(time=_now(), path=self._relative(path), folder=folder))

    def model(self, folder: Path, *, name: str, params: Mapping[str, str]) -> None:
        """Record a folder of the cell's folder (``model.safetensors``, ``config.json``) as the run's model.

        It is read when it is sent: it must stay as it is until then.
        """
        self._write(Published(time=_now(), folder=self._relative(folder), name=name, params=dict(params)))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Record tags to set on the run."""
        self._write(Tagged(time=_now(), tags=dict(tags)))

    def end(self, status: FinalStatus) -> None:
        """Record that the run ends, and write all to disk.

        After ``"KILLED"`` and ``"FAILED"`` it may start again; ``"FINISHED"`` is final, and ending again
        changes nothing.
        """
        if self.status != "FINISHED":
            self._write(Ended(time=_now(), status=status))
        self.flush()

    def flush(self) -> None:
        """Return when all that was recorded is on the disk; call it before a checkpoint is published."""
        with self._lock:
            self._dirty = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                raise _cannot_write(self.path, error) from error

    def last_step(self, key: str) -> int | None:
        """Return the last step at which a metric was recorded, or ``None``."""
        return max(self._steps.get(key, ()) or (), default=self._standing.get(key))

    def tag(self, name: str) -> str | None:
        """Return the last value of a tag, or ``None`` if there is none."""
        return self._tags.get(name)

    def series(self, key: str) -> list[tuple[int, float]]:
        """Return the steps and values of a metric, by step."""
        points = {
            event.step: event.values[key]
            for event, _ in read_events(self.path)
            if isinstance(event, Measured) and key in event.values
        }
        return sorted(points.items())

    def last_values(self) -> dict[str, float]:
        """Return the value of each metric at its last step."""
        last: dict[str, tuple[int, float]] = {}
        for event, _ in read_events(self.path):
            if isinstance(event, Measured):
                for name, value in event.values.items():
                    last[name] = max(
                        last.get(name, (-1, 0.0)), (event.step, value), key=lambda point: point[0]
                    )
        return {name: value for name, (_, value) in last.items()}

    def close(self) -> None:
        """Write all to disk and close the file; more than once does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._flusher.join()
        try:
            self.flush()
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stands(self, name: str, step: int) -> bool:
        return step in self._steps[name] or step <= self._standing.get(name, -1)

    def _relative(self, path: Path) -> str:
        return path.resolve().relative_to(self.folder.resolve()).as_posix()

    def _apply(self, event: Event) -> None:
        """Remember what an event says."""
        if isinstance(event, Started):
            self._id = event.journal
            self.run_id = event.run_id or self.run_id
            self.status = None
            self.header = event.header
            self._standing |= event.standing
            self._tags |= event.header.tags
        elif isinstance(event, Tagged):
            self._tags |= event.tags
        elif isinstance(event, Measured):
            for name in event.values:
                self._steps[name].add(event.step)
        elif isinstance(event, Ended):
            self.status = event.status

    def _write(self, event: Event) -> None:
        line = event.model_dump_json().encode() + b"\n"
        with self._lock:
            if self.status == "FINISHED":
                raise RuntimeError(f"the run of {self.path} is finished: nothing can be added to it")
            try:
                if self._failure is not None:
                    raise self._failure
                _append(self._descriptor, line)
            except OSError as error:
                raise _cannot_write(self.path, error) from error
            self._apply(event)
            self._dirty = True

    def _flush_behind(self) -> None:
        """Write to the disk what is recorded, about a second later, off the caller's thread."""
        while not self._closed.wait(_DISK_SECONDS):
            if not self._dirty:
                continue
            self._dirty = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._failure = error


def _now() -> int:
    return time.time_ns() // 1_000_000


def _append(descriptor: int, line: bytes) -> None:
    """Append a whole line or nothing."""
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        if written:
            os.ftruncate(descriptor, size)
        raise


def _drop_torn_line(descriptor: int) -> None:
    """Cut off what follows the last end of a line."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The journal {path} cannot be written ({error.strerror}): make room there or set run.output to "
        "another folder, and give the same command to go on."
    )

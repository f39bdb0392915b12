"""Who runs a cell: a lease that its owner renews, and that is taken over when it no longer does."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.processes import is_alive, machine_identity, process_identity

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_GUARD = ".leases.lock"
_GUARD_SECONDS, _BEAT_GUARD_SECONDS = 30.0, 1.0  # to wait for it; training must not wait long


@dataclass(frozen=True)
class Owner:
    """Who holds a lease.

    Attributes:
        host: Name of the machine.
        pid: Number of the process on it.
        started: When the lease was taken, by that machine's clock.
        beat_seconds_ago: How long ago the lease was last renewed, by the file system's clock.
    """

    host: str
    pid: int
    started: str
    beat_seconds_ago: float


@dataclass(frozen=True)
class _Record:
    """What a lease's file says; it was last renewed when the file was last changed."""

    token: str
    host: str
    machine: str
    pid: int
    process: str
    started: str


class LeaseHeld(Exception):  # noqa: N818  # the state of things, not a fault
    """Another process runs the cell; the message says which, and how to take over.

    Attributes:
        owner: That process.
    """

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.owner = owner
        super().__init__(
            f"{folder.name} is being run by process {owner.pid} on {owner.host} (since {owner.started}, last "
            f"heard of {owner.beat_seconds_ago:.0f} s ago): let it finish, or stop it and take over with "
            "--takeover."
        )


class Lease:
    """The right to write to a cell's folder, held by one process at a time; take it with :meth:`take`.

    A thread renews it every few seconds. As a context manager it is released at the end of the block. The
    file, ``.<folder's name>.lease``, lies beside the folder: the owner may delete the folder, and whoever
    takes the lease next finds what is true by then. So look for a finished run after taking it, not before.
    """

    def __init__(self, path: Path, token: str) -> None:
        self._path, self._token = path, token
        self._lost = False
        self._checked = time.monotonic()
        self._released = threading.Event()
        self._beat = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._beat.start()

    @classmethod
    def take(cls, folder: Path, *, takeover: bool = False) -> "Lease":
        """Take the lease of a cell's folder, which need not exist.

        One that was not renewed for a minute is taken over, and at once one whose process on this machine is
        gone.

        Args:
            folder: The cell's folder.
            takeover: Whether to take the lease from an owner that seems to be alive: it finds its lease
                lost and stops writing.

        Raises:
            LeaseHeld: if another process holds it.
            UserError: if the file system refuses.
        """
        path = folder.with_name(f".{folder.name}.lease")
        token = uuid.uuid4().hex
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _guarded(path):
                held = _read(path)
                if held is not None and not takeover and not _is_stale(*held):
                    record, age = held
                    raise LeaseHeld(folder, Owner(record.host, record.pid, record.started, max(age, 0.0)))
                _write(path, token)
        except (OSError, NotImplementedError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UserError(
                f"The folder {folder.parent} cannot be used ({reason}): set run.output to another."
            ) from error
        return cls(path, token)

    def lost(self) -> bool:
        """Return whether another process has taken the lease over, so that this one must stop writing."""
        # A process that was halted finds out now, and not at its next beat.
        if not self._lost and time.monotonic() - self._checked > 2 * BEAT_SECONDS:
            self._renew()
        return self._lost

    def release(self) -> None:
        """Give the lease back; more than once does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._beat.join()
        try:
            with _guarded(self._path):
                held = _read(self._path)
                if held is not None and held[0].token == self._token:
                    self._path.unlink()
        except OSError:
            return  # it goes stale by itself

    def _keep(self) -> None:
        while not self._released.wait(BEAT_SECONDS) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        self._checked = time.monotonic()
        try:
            with _guarded(self._path, _BEAT_GUARD_SECONDS):
                held = _read(self._path)
                if held is None or held[0].token != self._token:
                    self._lost = True
                else:
                    os.utime(self._path)
        except OSError:
            return  # a hiccup of the file system; the next beat may do better

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextmanager
def _guarded(path: Path, timeout: float = _GUARD_SECONDS) -> Iterator[None]:
    """Let one process at a time look at the leases of a folder and change them."""
    try:
        with FileLock(path.with_name(_GUARD), timeout=timeout):
            yield
    except Timeout as error:
        raise OSError(None, f"another process holds {path.with_name(_GUARD)}") from error


def _read(path: Path) -> tuple[_Record, float] | None:
    """Return a lease and its age in seconds, or ``None`` if there is none that can be read."""
    try:
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return None
    with file:
        # Both times are the file system's: clocks of two hosts differ.
        guard = path.with_name(_GUARD)
        guard.touch()
        age = guard.stat().st_mtime - os.fstat(file.fileno()).st_mtime
        try:
            return _Record(**json.load(file)), age
        except (ValueError, TypeError):
            return None  # it is written in one go: only a machine that crashed leaves such


def _is_stale(record: _Record, age: float) -> bool:
    if age > STALE_SECONDS:
        return True
    return record.machine == machine_identity() and not is_alive(record.process)


def _write(path: Path, token: str) -> None:
    record = _Record(
        token=token,
        host=socket.gethostname(),
        machine=machine_identity(),
        pid=os.getpid(),
        process=process_identity(os.getpid()) or str(os.getpid()),
        started=datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    )
    partial = path.with_name(path.name + ".new")
    partial.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
    os.replace(partial, path)

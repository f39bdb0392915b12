"""Sends a journal to MLflow, in order, whenever MLflow is there; nothing is lost and nothing doubled.

How far it got is in ``events.sent`` beside the journal. After a crash the last events are sent again, which
changes nothing: points carry the time of their event, and the run is found by the journal's identity.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import (
    EVENTS,
    Ended,
    Event,
    Measured,
    Published,
    Started,
    Stored,
    Tagged,
    journal_of,
    read_events,
)
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.store import MAX_METRICS_PER_CALL, Point, Store

SENT = "events.sent"
SEND_SECONDS = 2.0
LONGEST_WAIT = 30.0  # seconds, after failures that double the wait
_LAST_WAIT = 0.5  # while closing
GIVE_UP_SECONDS = 30.0  # of nothing but failures while closing

_LOG = logging.getLogger(__name__)


class _Sender:
    """The part of a journal that is not sent yet.

    Attributes:
        run_id: The MLflow run, once it is known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = journal_of(folder / EVENTS)
        self._offset = 0
        self._is_checked = False
        self.run_id: str | None = None
        try:
            sent = json.loads((folder / SENT).read_text(encoding="utf-8"))
            if sent["journal"] == self._journal:
                self._offset, self.run_id = int(sent["offset"]), sent["run_id"]
        except (OSError, ValueError, TypeError, KeyError):
            return  # never written, or lost in a crash: all is sent again

    def unsent(self) -> int:
        """Return how many events are not sent."""
        return sum(1 for _ in read_events(self._folder / EVENTS, self._offset))

    def send(self, store: Store, stop: Callable[[], bool] = lambda: False) -> int:
        """Send all there is, in order, until ``stop``; return how many events were sent.

        Raises:
            UserError: if the store fails; what was sent before stays sent.
        """
        if not self._is_checked:
            self._check_run(store)
        self._is_checked = False  # until all went well
        count = 0
        pending: list[Measured] = []
        end = self._offset
        for event, offset in read_events(self._folder / EVENTS, self._offset):
            if stop():
                break
            if not isinstance(event, Measured):
                self._send_points(store, pending, end)
                self._send_event(store, event)
                self._advance(offset)
            else:
                pending.append(event)
            count, end = count + 1, offset
            if sum(len(measured.values) for measured in pending) >= MAX_METRICS_PER_CALL:
                self._send_points(store, pending, end)
        self._send_points(store, pending, end)
        self._is_checked = True
        return count

    def _check_run(self, store: Store) -> None:
        """Send all again if the run is not there: it was deleted, or this is another store or experiment."""
        if self.run_id is not None and not store.has_run(self.run_id):
            self._offset, self.run_id = 0, None

    def _send_points(self, store: Store, pending: list[Measured], end: int) -> None:
        if not pending:
            return
        points = [
            Point(key, value, event.time, event.step)
            for event in pending
            for key, value in event.values.items()
        ]
        store.log_points(self._run(), points)
        pending.clear()
        self._advance(end)

    def _send_event(self, store: Store, event: Event) -> None:
        if isinstance(event, Started):
            run_id = self.run_id or event.run_id
            if run_id is None or (self.run_id is None and not store.has_run(run_id)):
                run_id = store.find_journal(event.journal)
            self._journal = event.journal
            self.run_id = store.start_cell(event.header, run_id, at=event.time, journal=event.journal)
        elif isinstance(event, Stored):
            if self._exists(event.path):
                store.artifact(self._run(), self._folder / event.path, event.folder)
        elif isinstance(event, Published):
            if self._exists(event.folder):
                folder = self._folder / event.folder
                store.publish_model(self._run(), folder, name=event.name, params=event.params)
        elif isinstance(event, Tagged):
            store.log_batch(self._run(), tags=event.tags)
        elif isinstance(event, Ended):
            store.finish(self._run(), event.status, at=event.time)

    def _run(self) -> str:
        if self.run_id is None:
            raise UserError(f"The journal {self._folder / EVENTS} is damaged: it begins without a start.")
        return self.run_id

    def _exists(self, name: str) -> bool:
        exists = (self._folder / name).exists()
        if not exists:
            _LOG.warning("%s is gone, and left out of its run.", self._folder / name)
        return exists

    def _advance(self, offset: int) -> None:
        """Remember that all before the offset is sent."""
        self._offset = offset
        partial = self._folder / f"{SENT}.new"
        try:
            sent = {"journal": self._journal, "offset": offset, "run_id": self.run_id}
            partial.write_text(json.dumps(sent), encoding="utf-8")
            os.replace(partial, self._folder / SENT)
        except OSError:
            return  # after a restart more is sent again than need be


class Uploader:
    """Sends a cell's journal in a thread of its own while the cell runs; only this thread calls MLflow.

    A store that fails is tried again, first after a few seconds and later every half minute, for as long as
    it takes.

    Args:
        journal: What to send; its ``run_id`` is set once the run is created.
        connect: The store, or what opens it; ``None`` sends nothing, which leaves all to :func:`sync`.

    Attributes:
        error: Why the last try failed, in one sentence, or ``None``.
    """

    def __init__(self, journal: Journal, connect: Callable[[], Store] | Store | None) -> None:
        self.error: str | None = None
        self._journal = journal
        self._connect = connect
        self._store: Store | None = None
        self._sender = _Sender(journal.folder)
        self._journal.run_id = self._journal.run_id or self._sender.run_id
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        if self._connect is not None:
            self._thread.start()

    def close(self, timeout: float, stop: Callable[[], bool] = lambda: False) -> int:
        """Try to send the rest; return how many events are not sent.

        Args:
            timeout: For how many seconds at most; a store that only fails is given up after ten.
            stop: Asked all the while whether to wait no longer.
        """
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() < self._deadline and not stop():
            self._thread.join(0.1)
        self._deadline = 0.0
        return self._sender.unsent()

    def _run(self) -> None:
        wait = SEND_SECONDS
        while not self._closing.wait(wait):
            wait = SEND_SECONDS if self._try() else min(2 * wait, LONGEST_WAIT)
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while not self._try() and time.monotonic() + _LAST_WAIT < min(self._deadline, give_up):
            time.sleep(_LAST_WAIT)

    def _try(self) -> bool:
        """Send what there is; return whether the store took it."""
        try:
            if self._store is None:
                assert self._connect is not None
                self._store = self._connect() if callable(self._connect) else self._connect
            self._sender.send(self._store, self._too_late)
            self.error = None
        except Exception as error:  # whatever a server makes MLflow raise, training goes on
            self.error = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            _LOG.debug("sending failed", exc_info=True)
            return False
        finally:
            self._journal.run_id = self._sender.run_id or self._journal.run_id
        return True

    def _too_late(self) -> bool:
        return time.monotonic() > self._deadline


def sync(folder: Path, store: Store) -> int:
    """Send what is unsent of the journal in a cell's folder; return how many events that were.

    A run that no process goes on with is ended as KILLED. The folder of a finished cell is deleted.

    Raises:
        LeaseHeld: if a process is running the cell, which sends its journal itself.
        UserError: if the store fails or the journal is damaged.
    """
    with Lease.take(folder):
        if not (folder / EVENTS).exists():
            return 0
        with Journal.open(folder) as journal:
            if journal.status is None and journal.header is not None:
                journal.end("KILLED")
        sent = _Sender(folder).send(store)
        if journal.status == "FINISHED":
            shutil.rmtree(folder, ignore_errors=True)
        return sent

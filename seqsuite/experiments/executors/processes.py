"""Cells in processes of this machine.

Workers are forked from a server that has imported PyTorch and MLflow, so that one starts in milliseconds. A
worker runs one cell after the other. One that dies is replaced, and its cell is tried again from its newest
checkpoint; workers end at once when this process does.
"""

import logging
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import RETRIES, Executor, died, gpus_of_workers, of
from seqsuite.experiments.executors.worker import Job, run_job
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag, deferred_interrupts

_POLL_SECONDS = 0.2
_STOP_SECONDS = 30.0  # for a worker that was idle; one that works is waited for

log = logging.getLogger("seqsuite")


@dataclass
class _Task:
    """A cell that waits or runs; ``attempt`` counts the workers that died with it."""

    cell: CellConfig
    attempt: int = 0


class Processes(Executor):
    """Runs several cells at once, each in a worker with its share of the cores and GPUs."""

    def run(self, cells: Sequence[CellConfig], stop: InterruptionFlag) -> Generator[CellResult, None, None]:
        """Hand cells out to workers as they become free."""
        waiting = deque(_Task(cell) for cell in cells)
        count = self.plan.parallel(len(cells))
        threads = self.plan.threads(count)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._preloaded())
        workers = [_Worker(context, gpus) for gpus in gpus_of_workers(self.plan.run, count)]
        is_stopped = False
        try:
            while waiting or any(worker.task for worker in workers):
                if stop.requested and not is_stopped:
                    is_stopped = True
                    waiting.clear()
                    for worker in workers:
                        worker.interrupt()
                for worker in workers:
                    if worker.task is None and waiting:
                        task = waiting.popleft()
                        worker.give(task, replace(self.plan.job(task.cell, threads), attempt=task.attempt))
                for worker in _ready(workers):
                    result = worker.answer()
                    if result is not None:
                        yield result
                    elif worker.lost is not None and not is_stopped:
                        yield from self._again(worker, waiting)
            if is_stopped:
                raise Interrupted
        finally:
            for worker in workers:
                worker.close()

    def _again(self, worker: "_Worker", waiting: "deque[_Task]") -> Iterator[CellResult]:
        """Put the cell of a worker that died in front, or give it up."""
        task, how = worker.lost or (None, "")
        if task is None:
            return
        if task.attempt == RETRIES:
            yield died(task.cell, how)
            return
        task.attempt += 1
        log.warning("%s: its worker %s; the cell is tried again.", task.cell.title, how)
        waiting.appendleft(task)

    def _preloaded(self) -> list[str]:
        """Return the modules that workers are forked with."""
        host = self.plan.host
        modules = [run_job.__module__, host.illustrate.__module__]
        if host.store is not None:
            local = host.store.uri.startswith("sqlite:")
            modules.append("mlflow.store.tracking.sqlalchemy_store" if local else "mlflow.tracking")
        return modules


class _Worker:
    """A process that runs cells, seen from outside.

    Attributes:
        task: The cell that it runs.
        lost: The cell that it ran when it died, and how it died; set by :meth:`answer`.
    """

    def __init__(self, context: Any, gpus: Sequence[str]) -> None:
        self._context, self._gpus = context, gpus
        self._connection: Connection
        self._lifeline: Connection
        self.task: _Task | None = None
        self.lost: tuple[_Task | None, str] | None = None
        self.restart()

    def restart(self) -> None:
        """Start a process, in place of one that died if there was one."""
        if self.lost is not None:
            self._connection.close()
            self._lifeline.close()
        self.task = self.lost = None
        self._connection, theirs = self._context.Pipe()
        ends, self._lifeline = self._context.Pipe(duplex=False)
        with theirs, ends:
            self._process = self._started(theirs, ends)

    def _started(self, theirs: Connection, ends: Connection) -> Any:
        """Return a process; the server that forks it is started again if it was killed."""
        reason = ""
        environment = dict(os.environ)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus)
        for _ in range(RETRIES + 1):
            process = self._context.Process(
                target=work, args=(theirs, ends, environment), name="seqsuite", daemon=True
            )
            try:
                process.start()
            except (EOFError, OSError) as error:
                reason = str(error) or "the server that forks them ends"
                time.sleep(_POLL_SECONDS)  # until it is seen that the server has ended
                continue
            return process
        raise UserError(f"No process can be started for a cell ({reason}): try a smaller run.parallel.")

    @property
    def connection(self) -> Connection:
        """Return what it answers through."""
        return self._connection

    def give(self, task: _Task, job: Job) -> None:
        """Let it run a cell; that it has died since it was asked last is found when it is asked again."""
        if self.lost is not None:
            self.restart()
        self.task = task
        with suppress(OSError):
            self._connection.send(job)

    def answer(self) -> CellResult | None:
        """Return a cell's result, if that is what has come; the worker is free then."""
        try:
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            how = f"was killed by signal {-code}" if code and code < 0 else f"ended with status {code}"
            self.lost, self.task = (self.task, how), None
            return None
        if kind == "notice":
            log.log(*value)
            return None
        task, self.task = self.task, None
        return None if task is None or value is None else of(task.cell, value)

    def interrupt(self) -> None:
        """Ask it to keep its work and stop."""
        if self.lost is None and self._process.is_alive():
            self._process.terminate()

    def close(self) -> None:
        """End it: at once, if it still works."""
        self._connection.close()
        if self.task is not None:
            self._process.kill()
        self._process.join(_STOP_SECONDS)
        self._lifeline.close()
        self._process.join()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Return the workers that have something to say, soon."""
    busy = [worker for worker in workers if worker.lost is None]
    found = wait([worker.connection for worker in busy], timeout=_POLL_SECONDS)
    return [worker for worker in busy if worker.connection in found]


def work(connection: Connection, lifeline: Connection, environment: Mapping[str, str]) -> None:
    """Run the jobs that come, and answer with their results: the main function of a worker.

    Args:
        connection: Where jobs come from; a result is ``None`` if the cell was interrupted.
        lifeline: Its end is the end of the process that gives the jobs.
        environment: Variables of that process.
    """
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    sending = threading.Lock()
    logging.getLogger("seqsuite").addHandler(_Forward(connection, sending))
    with deferred_interrupts() as interruption:
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            try:
                result = run_job(job, interruption)
            except Interrupted:
                result = None
            with sending:
                connection.send(("result", result))


def _end_with(lifeline: Connection) -> None:
    """End this process when the other does: whoever gives the same command then finds its cells free."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)


class _Forward(logging.Handler):
    """Lets the other process log what is logged here."""

    def __init__(self, connection: Connection, sending: threading.Lock) -> None:
        super().__init__()
        self._connection, self._sending = connection, sending

    def emit(self, record: logging.LogRecord) -> None:
        """Send a notice."""
        with self._sending, suppress(OSError):
            self._connection.send(("notice", (record.levelno, "%s", record.getMessage())))

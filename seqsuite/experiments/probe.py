"""How long cells will take and how much memory: a few steps of each, of which nothing is kept."""

import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from seqsuite.allocator import keep_freed_memory, process_bytes, reset_peak
from seqsuite.devices import choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.worker import using_threads
from seqsuite.experiments.failures import sentence
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.memory import is_out_of_memory
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.scores import evaluate

PROBE_STEPS = 4
"""Steps that are timed, after one that is not."""


@dataclass(frozen=True)
class Probe:
    """What a cell takes.

    Attributes:
        seconds: Of training, without evaluations.
        memory: Bytes that steps and a batch of an evaluation took at most: of the GPU's memory, or those by
            which the process grew; ``None`` where the system does not say.
    """

    seconds: float
    memory: int | None


def probe(cells: Sequence[CellConfig], threads: int | None = None) -> list[Probe | None]:
    """Find out what one process takes to train each cell; cells of different seeds share a probe.

    Each probe has a process of its own, which may end for want of memory. What other cells that run at the
    same time cost is left out.

    Args:
        cells: What is to be run.
        threads: Threads that a cell will have; ``None`` is as many as there are now.

    Returns:
        For each cell what it takes; ``None`` if there was not enough memory.

    Raises:
        UserError: if a cell's data or model cannot be used.
    """
    known: dict[str, Probe | None] = {}
    found: list[Probe | None] = []
    for cell in cells:
        key = cell.model_dump_json(exclude={"seed": True, "train": {"steps"}, "run": {"name"}})
        if key not in known:
            known[key] = _in_a_process(cell, threads or torch.get_num_threads())
        step = known[key]
        found.append(None if step is None else replace(step, seconds=step.seconds * cell.train.steps))
    return found


def probe_step(cell: CellConfig) -> Probe:
    """Take a few steps and a batch of the validation set in this process; return what a step takes.

    The memory is that of all of it, of a process that has done nothing before.

    Raises:
        UserError: if the cell's data or model cannot be used.
    """
    device = choose_device(cell.run.device)
    before = process_bytes("VmRSS") if reset_peak() else None
    placement, clock, asked = Single(device, cell.train), _Clock(), iter([False])
    with tempfile.TemporaryDirectory() as folder:
        trainer = assemble(cell, cell.make_task(), placement, Path(folder), [])
        with suppress(_Enough):
            trainer.train(InterruptionFlag(), clock)
        evaluate(
            trainer.parts.model,
            trainer.parts.task,
            "validation",
            trainer.parts.objective,
            batch_size=cell.train.eval_batch_size,
            placement=placement,
            stop=lambda: next(asked, True),
        )
    peak = process_bytes("VmHWM")
    if device.type == "cuda":
        memory: int | None = torch.cuda.max_memory_allocated(device)
    else:
        memory = None if before is None or peak is None else max(0, peak - before)
    return Probe(clock.seconds_of_a_step(), memory)


def _in_a_process(cell: CellConfig, threads: int) -> Probe | None:
    """Return what :func:`probe_step` does in a fresh process; ``None`` if that lacks memory or is killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, cell, threads, Path.cwd(), dict(os.environ))
    process = context.Process(target=answer, args=arguments, name="seqsuite", daemon=True)
    try:
        process.start()
        theirs.close()
        found: Probe | str | None = ours.recv()
    except EOFError:
        found = None
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
            process.join()
    if isinstance(found, str):
        raise UserError(found)
    return found


def answer(
    connection: Connection, cell: CellConfig, threads: int, folder: Path, environment: Mapping[str, str]
) -> None:
    """Tell what a cell takes, or in a sentence why it cannot be trained: the main function of a probe.

    Args:
        connection: Where to tell it.
        cell: The cell.
        threads: Threads of PyTorch.
        folder: Working folder, as data may be named relative to it.
        environment: Variables of the process that asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that process, which ends this one
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    keep_freed_memory()
    try:
        with using_threads(threads):
            connection.send(probe_step(cell))
    except (Exception, SystemExit) as error:
        connection.send(None if is_out_of_memory(error) else sentence(error))


class _Enough(Exception):  # noqa: N818  # the state of things, not a fault
    """As many steps as are needed were taken."""


class _Clock(Callback):
    """Notes when each step was done, and stops after a few."""

    def __init__(self) -> None:
        self._times = [time.perf_counter()]

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Note the time."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._times.append(time.perf_counter())
        if len(self._times) > 1 + PROBE_STEPS:
            raise _Enough

    def seconds_of_a_step(self) -> float:
        """Return the median; of a cell of one step, that step."""
        times = self._times[1:] if len(self._times) > 2 else self._times
        return statistics.median(later - earlier for earlier, later in pairwise(times))

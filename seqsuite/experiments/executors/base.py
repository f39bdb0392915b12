"""What an executor is, and what it is given."""

import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import torch

from seqsuite.devices import usable_cores
from seqsuite.experiments.cell import CellResult, Host
from seqsuite.experiments.config.schema import CellConfig, RunConfig
from seqsuite.experiments.executors.worker import Job, StoreAddress
from seqsuite.experiments.interruption import InterruptionFlag

RETRIES = 2
"""How often a cell is tried again whose worker died."""


@dataclass(frozen=True)
class Plan:
    """What an executor runs cells with.

    Attributes:
        host: The store, what draws a finished cell's curves, and what is to be done with earlier runs.
        run: The settings of ``run.*`` that the cells share: how many at once, threads and GPUs of each.
        parent_run_id: Run of the grid that the cells belong to.
    """

    host: Host
    run: RunConfig
    parent_run_id: str | None = None

    def parallel(self, cells: int) -> int:
        """Return how many cells run at once on this machine; see :func:`at_once`."""
        return at_once(self.run, cells)

    def threads(self, parallel: int) -> int:
        """Return the threads of each cell: ``run.threads``, or its share of the cores."""
        return self.run.threads or max(1, usable_cores() // parallel)

    def job(self, cell: CellConfig, threads: int) -> Job:
        """Return what a worker needs to run a cell."""
        host = self.host
        return Job(
            config=cell,
            threads=threads,
            store=None if host.store is None else StoreAddress.of(host.store),
            illustrate=host.illustrate,
            takeover=host.takeover,
            retry_failed=host.retry_failed,
            parent_run_id=self.parent_run_id,
            folder=Path.cwd(),
        )


class Executor(ABC):
    """Runs cells somewhere; may be used from any thread.

    Args:
        plan: What cells are run with.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abstractmethod
    def run(self, cells: Sequence[CellConfig], stop: InterruptionFlag) -> Generator[CellResult, None, None]:
        """Run cells, and yield what became of each when it is known: in any order, each once.

        One cell never stops the others: that its worker was killed is what became of it. The numbers of a
        cell are those of any other executor with as many threads.

        Args:
            cells: What to run; they differ from each other.
            stop: Set when the user asks to stop.

        Raises:
            Interrupted: after ``stop``, when all cells have saved what they did.
        """


def died(cell: CellConfig, how: str) -> CellResult:
    """Return what became of a cell whose workers died."""
    return CellResult(
        cell,
        "failed",
        "",
        f"its worker {how}, {RETRIES + 1} times: it may need more memory than there is; its work so far is "
        "kept, and the same command goes on.",
    )


def of(cell: CellConfig, result: CellResult) -> CellResult:
    """Return a worker's result as one of this process's cell."""
    return replace(result, config=cell)


def at_once(run: RunConfig, cells: int) -> int:
    """Return how many cells run at once on this machine.

    That is ``run.parallel``, or as many as share its GPUs, or as many as it has cores for.
    """
    if run.executor == "inline":
        return 1
    if run.parallel is not None:
        wanted = run.parallel
    elif gpus := visible_gpus(run):
        wanted = int(len(gpus) / gpus_of_a_cell(run))
    else:
        wanted = usable_cores() // (run.threads or 1)
    return max(1, min(wanted, cells))


def sharing(run: RunConfig, cells: int) -> int:
    """Return how many cells share this machine's memory, or that of one GPU; 1 where that is others'."""
    if is_elsewhere(run):
        return 1
    gpus = visible_gpus(run)
    return -(-at_once(run, cells) * run.nproc // len(gpus)) if gpus else at_once(run, cells)


def gpus_of_a_cell(run: RunConfig) -> float:
    """Return how many GPUs a cell takes, where there are: one for each of its processes, or a share."""
    return run.nproc * (run.gpus or 1)


def gpus_of_workers(run: RunConfig, workers: int) -> list[list[str]]:
    """Return which visible GPUs each worker sees: one for each process of a cell, in turn; none on a CPU.

    Workers that are more than the GPUs share them.
    """
    turn = cycle(visible_gpus(run))
    return [list(dict.fromkeys(islice(turn, run.nproc))) for _ in range(workers)]


def is_elsewhere(run: RunConfig) -> bool:
    """Return whether cells run on other machines, whose devices and memory are not this one's."""
    return run.executor == "slurm" or (run.executor == "ray" and "RAY_ADDRESS" in os.environ)


def takes_gpus(run: RunConfig) -> bool:
    """Return whether cells are to be given GPUs: those that are here, or that are asked for elsewhere."""
    return bool(visible_gpus(run)) or (run.device == "cuda" and is_elsewhere(run))


def visible_gpus(run: RunConfig) -> list[str]:
    """Return the GPUs that cells can use, as ``CUDA_VISIBLE_DEVICES`` names them; none on a CPU."""
    if run.device == "cpu" or not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]

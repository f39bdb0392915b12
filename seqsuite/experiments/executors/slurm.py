"""Cells as one array of Slurm jobs, by submitit; on a machine without Slurm, as processes of it.

Partition, account and time limit are Slurm's own environment variables: ``SBATCH_PARTITION`` and so on. The
working folder, output and data are on storage that all nodes have. Jobs go on without this process: the same
command finds what they finished.
"""

import logging
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import RETRIES, Executor, died, of
from seqsuite.experiments.executors.worker import Job, run_shared_job
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag

POLL_SECONDS = 0.5
_TIMEOUT_MINUTES = 24 * 60  # unless SBATCH_TIMELIMIT says otherwise

log = logging.getLogger("seqsuite")


class Slurm(Executor):
    """Submits all cells at once; Slurm runs ``run.parallel`` of them at a time."""

    def run(self, cells: Sequence[CellConfig], stop: InterruptionFlag) -> Generator[CellResult, None, None]:
        """Submit one array; a cell whose job died is submitted again."""
        output = cells[0].run.output
        output.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".slurm-", dir=output))  # for this user only: it holds jobs
        threads = self.plan.run.threads or 1
        executor = self._executor(folder, threads, len(cells))
        jobs = [replace(self.plan.job(cell, threads), stop_file=folder / "stop") for cell in cells]
        submitted = list(zip(executor.map_array(RequeuedJob(), jobs), jobs, strict=True))
        yield from _collect(executor, submitted, folder / "stop", stop)
        shutil.rmtree(folder, ignore_errors=True)

    def _executor(self, folder: Path, threads: int, cells: int) -> Any:
        import submitit

        executor = submitit.AutoExecutor(folder=folder)
        if executor.cluster == "local":
            log.warning("There is no Slurm here (no srun): its jobs are processes of this machine.")
        executor.update_parameters(
            name="seqsuite",
            cpus_per_task=threads,
            timeout_min=_TIMEOUT_MINUTES,
            slurm_array_parallelism=self.plan.run.parallel or cells,
        )
        if self.plan.run.device == "cuda":
            executor.update_parameters(gpus_per_node=self.plan.run.nproc)
        return executor


class RequeuedJob:
    """What a Slurm job runs; where it is preempted or its time is up, it is queued again and goes on."""

    def __call__(self, job: Job) -> CellResult | None:
        """Run the cell."""
        return run_shared_job(job)

    def checkpoint(self, job: Job) -> Any:
        """Return what to queue again: the cell's own checkpoints say where to go on."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, replace(job, attempt=job.attempt + 1))


def _collect(
    executor: Any, submitted: list[tuple[Any, Job]], stop_file: Path, stop: InterruptionFlag
) -> Iterator[CellResult]:
    """Yield results as jobs end."""
    while submitted:
        if stop.requested and not stop_file.exists():
            stop_file.touch()
            for handle, _ in submitted:
                if handle.state == "PENDING":
                    handle.cancel()
        for handle, job in list(submitted):
            if not handle.done():
                continue
            submitted.remove((handle, job))
            if (error := handle.exception()) is None:
                if (result := handle.result()) is not None:
                    yield of(job.config, result)
            elif stop.requested:
                continue
            elif job.attempt < RETRIES:
                again = replace(job, attempt=job.attempt + 1)
                submitted.append((executor.submit(RequeuedJob(), again), again))
            else:
                yield died(job.config, f"ended (Slurm job {handle.job_id}, {type(error).__name__})")
        time.sleep(POLL_SECONDS)
    if stop.requested:
        raise Interrupted

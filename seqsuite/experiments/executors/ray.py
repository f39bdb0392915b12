"""Cells on a Ray cluster: the one at ``RAY_ADDRESS``, or one that lives as long as this process.

A cell is a task that asks for its threads as CPUs and for its share of a GPU. Its working folder, output and
data are on storage that all nodes have; what is recorded goes through its journal there. Ray is told nothing
but what became of it.
"""

import os
import secrets
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from seqsuite.devices import usable_cores
from seqsuite.errors import UserError
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.base import RETRIES, Executor, died, gpus_of_a_cell, of, takes_gpus
from seqsuite.experiments.executors.worker import run_shared_job
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag

_POLL_SECONDS = 0.5


class Ray(Executor):
    """Runs as many cells at once as the cluster has CPUs and GPUs for, or ``run.parallel``."""

    def run(self, cells: Sequence[CellConfig], stop: InterruptionFlag) -> Generator[CellResult, None, None]:
        """Submit cells; one whose worker or node died is submitted again."""
        parallel = self.plan.parallel(len(cells))
        threads = self.plan.threads(parallel)
        address = os.environ.get("RAY_ADDRESS")
        at_once = parallel if address is None or self.plan.run.parallel is not None else len(cells)
        cells[0].run.output.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".ray-", dir=cells[0].run.output))
        try:
            with _cluster(address, max(parallel * threads, usable_cores())) as ray:
                gpus = gpus_of_a_cell(self.plan.run) if takes_gpus(self.plan.run) else 0
                remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(run_shared_job)
                yield from self._run(ray, remote, cells, threads, at_once, folder / "stop", stop)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(
        self,
        ray: Any,
        remote: Any,
        cells: Sequence[CellConfig],
        threads: int,
        at_once: int,
        stop_file: Path,
        stop: InterruptionFlag,
    ) -> Iterator[CellResult]:
        waiting = [replace(self.plan.job(cell, threads), stop_file=stop_file) for cell in cells]
        running: dict[Any, Any] = {}
        while waiting or running:
            if stop.requested and not stop_file.exists():
                stop_file.touch()
                waiting.clear()
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[remote.remote(job)] = job
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS) if running else ([], [])
            for reference in ready:
                job = running.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    if job.attempt < RETRIES and not stop.requested:
                        waiting.insert(0, replace(job, attempt=job.attempt + 1))
                    elif not stop.requested:
                        yield died(job.config, f"was lost ({type(error).__name__})")
                else:
                    if result is not None:
                        yield of(job.config, result)
        if stop.requested:
            raise Interrupted


@contextmanager
def _cluster(address: str | None, cpus: int) -> Iterator[Any]:
    """Connect to the cluster, or start one on this machine, which takes work from this process only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        # Read as Ray is imported: without clusters it listens on the loopback interface only, which is what
        # it does by itself where it supports none. Whoever has no token is turned away there too.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Ray's own 15 lets everything else on the machine go first: cells would be slower than in processes.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # which Ray reads once
    import ray

    local: dict[str, Any] = {} if address else {"num_cpus": cpus}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level="ERROR",
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "RAY_ADDRESS" if address else "a local cluster"
        raise UserError(f"Ray cannot be used ({where}): {' '.join(str(error).split())}") from error
    try:
        yield ray
    finally:
        ray.shutdown()

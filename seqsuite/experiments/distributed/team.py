"""The processes that train a cell together: started here, or by ``torchrun``; and how they meet.

The first process does all that one process does alone: it journals, writes checkpoints, publishes. The others
are told through a store what to train and from which checkpoint, and follow (:mod:`.follow`).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from seqsuite.devices import choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig, RunConfig
from seqsuite.experiments.training.placement import Placement, Single

CELL, READY = "seqsuite/cell", "seqsuite/ready/"
"""Keys of the store: what to train (empty for nothing), and which processes are there."""

PORT, RANK, WORLD = "SEQSUITE_PORT", "SEQSUITE_RANK", "SEQSUITE_WORLD"
"""Variables of the environment that started processes find the store and their place by."""

_STARTING = timedelta(minutes=5)
_LAST_WORDS = 2.0  # seconds that processes have to end when the first has failed


def launched_rank() -> int | None:
    """Return this process's number if ``torchrun`` has started it, else ``None``."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def world_size(run: RunConfig) -> int:
    """Return how many processes train a cell.

    Raises:
        UserError: if ``torchrun`` and the settings both say it.
    """
    if launched_rank() is None:
        return run.nproc
    if run.nproc > 1:
        raise UserError("torchrun has started the processes of this run: leave out run.nproc.")
    return int(os.environ["WORLD_SIZE"])


@contextmanager
def team(config: CellConfig, folder: Path, found: Path | None) -> Iterator[Placement]:
    """Within the context the processes of a cell are there, and train what this one trains.

    Args:
        config: The cell.
        folder: Where its checkpoints go.
        found: The checkpoint that it goes on from.

    Yields:
        This process's placement.

    Raises:
        UserError: if a process has ended, or cannot be started.
    """
    world = world_size(config.run)
    if world == 1:
        yield Single(choose_device(config.run.device), config.train)
        return
    order = json.dumps(
        {
            "config": config.model_dump(mode="json"),
            "folder": str(folder.resolve()),
            "found": None if found is None else str(found.resolve()),
        }
    )
    if launched_rank() is not None:
        store, rank, _ = next(rendezvous("env://"))
        store.set(CELL, order)
        with told(None), join(config, store, rank, world) as placement:
            yield placement
        return
    threads = torch.get_num_threads()
    store, port = _serve()
    store.set(CELL, order)
    torch.set_num_threads(max(1, threads // world))
    workers = _Workers(world, store, port)
    try:
        with told(workers):
            workers.wait_until_ready()
            with join(config, store, 0, world) as placement:
                yield placement
            workers.wait_until_done()
    finally:
        workers.end()
        torch.set_num_threads(threads)


@contextmanager
def join(config: CellConfig, store: Store, rank: int, world: int) -> Iterator[Placement]:
    """Within the context this process is one of those that train a cell; yield its placement.

    Raises:
        UserError: if there are not enough GPUs.
    """
    # Imported where they are needed: most runs are of one process.
    from seqsuite.experiments.distributed.ddp import DataParallel
    from seqsuite.experiments.distributed.fsdp2 import FullySharded

    device = _device(config, rank)
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        kind = FullySharded if config.run.distributed == "fsdp2" else DataParallel
        yield kind(device, config.train, config.run.sequence_parallel)
    finally:
        dist.destroy_process_group()


def dismiss() -> None:
    """Tell the processes that ``torchrun`` has started besides this one that there is nothing to train."""
    if launched_rank() == 0:
        store, _, _ = next(rendezvous("env://"))
        if not store.check([CELL]):
            store.set(CELL, "")


def read_order(text: str) -> tuple[CellConfig, Path, Path | None]:
    """Return the cell, its folder and the checkpoint to go on from, as the first process has sent them."""
    order = json.loads(text)
    found = None if order["found"] is None else Path(order["found"])
    return CellConfig.model_validate(order["config"]), Path(order["folder"]), found


def _serve() -> tuple[Store, int]:
    """Return a store for processes of this machine, and its port: by itself it would listen to all others."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = int(listener.getsockname()[1])
    store = dist.TCPStore(  # type: ignore[attr-defined]  # it is there
        "127.0.0.1",
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=_STARTING,
        master_listen_fd=listener.detach(),
    )
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    return store, port


class _Workers:
    """The processes besides the first, each with a file that its errors go to."""

    def __init__(self, world: int, store: Store, port: int) -> None:
        self._store = store
        self._errors: list[IO[bytes]] = [
            tempfile.TemporaryFile()  # noqa: SIM115  # they live as long as the processes
            for _ in range(1, world)
        ]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "seqsuite.experiments.distributed.follow"],
                env={
                    **os.environ,
                    PORT: str(port),
                    RANK: str(rank),
                    WORLD: str(world),
                    "OMP_NUM_THREADS": str(torch.get_num_threads()),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors[rank - 1],
                start_new_session=True,  # Ctrl-C is for the first process, which tells the others
            )
            for rank in range(1, world)
        ]

    def wait_until_ready(self) -> None:
        """Return once all are there.

        Raises:
            UserError: if one has ended, or is not there after minutes.
        """
        keys = [f"{READY}{rank}" for rank in range(1, len(self._processes) + 1)]
        deadline = time.monotonic() + _STARTING.total_seconds()
        while not self._store.check(keys):
            if (fault := self.fault()) is not None:
                raise UserError(fault)
            if time.monotonic() > deadline:
                raise UserError(f"The processes of run.nproc={len(keys) + 1} have not started in minutes.")
            time.sleep(0.05)

    def wait_until_done(self) -> None:
        """Return once all have ended."""
        for process in self._processes:
            process.wait()

    def fault(self) -> str | None:
        """Return in a sentence which process has failed, ``None`` if none has."""
        for rank, process in enumerate(self._processes, start=1):
            status = process.poll()
            if not status:
                continue
            return (
                f"Process {rank} of the {len(self._processes) + 1} that train this cell "
                f"{self._end_of(rank, status)}; the same command goes on from the newest checkpoint."
            )
        return None

    def _end_of(self, rank: int, status: int) -> str:
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        file = self._errors[rank - 1]
        file.seek(0)
        words = file.read().decode(errors="replace").strip().splitlines()
        return f"has failed ({words[-1].rstrip('.')})" if words else "has failed"

    def fault_soon(self) -> str | None:
        """Return what :meth:`fault` does, once a process that is ending has ended."""
        deadline = time.monotonic() + _LAST_WORDS
        while (fault := self.fault()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return fault

    def end(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for file in self._errors:
            file.close()


@contextmanager
def told(workers: _Workers | None) -> Iterator[None]:
    """Within the context a connection that breaks is told as the end of the process behind it.

    Args:
        workers: The processes that this one has started, if it has.

    Raises:
        UserError: in the place of the connection's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        fault = None if workers is None else workers.fault_soon()
        broken = "The connection to another process that trains this cell has broken"
        raise UserError(fault or f"{broken}; the same command goes on from the newest checkpoint.") from error


def _device(config: CellConfig, rank: int) -> torch.device:
    """Return the device of a process: of GPUs each has its own."""
    device = choose_device(config.run.device)
    if device.type == "cpu":
        return device
    number = int(os.environ.get("LOCAL_RANK", rank))
    if number >= torch.cuda.device_count():
        raise UserError(
            f"There are {torch.cuda.device_count()} GPUs, and process {number} needs one of its own: lower "
            "run.nproc, or use run.device=cpu."
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)

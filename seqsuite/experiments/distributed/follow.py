"""What the processes of a cell besides the first do: train with it, and leave the telling to it."""

import os
import signal
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from seqsuite.allocator import keep_freed_memory
from seqsuite.errors import UserError
from seqsuite.experiments.distributed.team import CELL, PORT, RANK, READY, WORLD, join, read_order, told
from seqsuite.experiments.interruption import SIGNALS, Interrupted, InterruptionFlag
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback

_WAITING = timedelta(days=1)  # the first process reads data, and looks for earlier runs, before it calls


def follow(store: Store, rank: int, world: int) -> None:
    """Train what the first process says, if anything; return when it is done or stopped.

    Args:
        store: Where the first process says it.
        rank: Number of this process.
        world: How many there are.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the first process is asked to stop, and tells the others
    store.wait([CELL], _WAITING)
    text = store.get(CELL).decode()
    if not text:
        return
    config, folder, found = read_order(text)
    torch.use_deterministic_algorithms(config.train.deterministic)
    keep_freed_memory()
    with join(config, store, rank, world) as placement:
        # A callback that does nothing stands for the first process's journal.
        trainer = assemble(config, config.make_task(), placement, folder, [Callback()], found)
        try:
            trainer.train(InterruptionFlag())
        except Interrupted:
            return


def follow_launcher() -> None:
    """Follow the first of the processes that ``torchrun`` has started, of which this is another.

    Raises:
        UserError: if the connection to another one breaks.
    """
    store, rank, world = next(rendezvous("env://"))
    with told(None):
        follow(store, rank, world)


def main() -> int:
    """Follow the process that has started this one; return the exit status."""
    rank, world = int(os.environ[RANK]), int(os.environ[WORLD])
    store = dist.TCPStore("127.0.0.1", int(os.environ[PORT]), is_master=False)  # type: ignore[attr-defined]  # it is there
    store.set(f"{READY}{rank}", "")
    try:
        follow(store, rank, world)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

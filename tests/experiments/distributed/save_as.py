"""One of several processes that save and load a checkpoint, and write how they grew: started by tests.

Arguments: number of the process, how many there are, a file that they meet at, a folder for the checkpoint,
and a JSON file for the numbers.
"""

import errno
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from seqsuite.allocator import process_bytes, reset_peak, return_freed_memory
from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed.team import join
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.trainer import Trainer

SETTINGS = {
    "task": "selective_copying",
    "scale": "smoke",
    "task.length": "8",
    "task.num_tokens": "2",
    "task.eval_examples": "4",
    "model": "mamba",
    "model.d_model": "1024",
    "model.n_layer": "8",
    "train.steps": "1",
    "train.batch_size": "4",
    "train.eval_batch_size": "4",
    "run.distributed": "fsdp2",
}


def told_of_a_full_disk(trainer: Trainer, here: bool) -> str:
    """Save another checkpoint, while nothing more goes onto this process's disk; return what is said."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if here:
        os.fsync = full
    trainer.progress.step += 1
    try:
        trainer.save()
        trainer.parts.checkpoints.wait()
    except UserError as error:
        return str(error)
    return ""


class Grown:
    """Says by how much the process grew at most since it was made."""

    def __init__(self) -> None:
        return_freed_memory()
        reset_peak()
        self._before = process_bytes("VmRSS") or 0

    def most(self) -> int:
        return (process_bytes("VmHWM") or 0) - self._before


def main() -> None:
    """Train a step; save that; load it; fail to save another one."""
    rank, world, store, folder, out = sys.argv[1:]
    torch.set_num_threads(1)
    config = resolve(SETTINGS)
    task = config.make_task()
    with join(config, dist.FileStore(store, int(world)), int(rank), int(world)) as placement:
        trainer = assemble(config, task, placement, Path(folder), [Callback()])
        trainer.train(InterruptionFlag())
        trainer.progress.step += 1  # a further checkpoint, which the first one has warmed up for
        saving = Grown()
        trainer.save()
        trainer.parts.checkpoints.wait()
        saved = saving.most()
        dist.barrier()
        found = trainer.parts.checkpoints.newest()
        assert found is not None
        loading = Grown()
        trainer.resume(found)
        loaded = loading.most()
        told = told_of_a_full_disk(trainer, here=placement.rank == placement.world - 1)
    whole = 3 * 4 * trainer.parts.model.num_parameters()  # weights and both moments
    Path(out).write_text(json.dumps({"whole": whole, "saved": saved, "loaded": loaded, "told": told}))


if __name__ == "__main__":
    main()

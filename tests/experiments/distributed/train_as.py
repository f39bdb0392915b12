"""One of several processes that train cells together, and write the curves as JSON: started by tests.

Arguments: a file of cases (settings by name), number of the process, how many there are, a file that they
meet at, a folder, and a file for the curves.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.distributed.team import join
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.experiments.training.placement import Placement, Single

OURS = ("dtype", "until", "name")
"""Settings of a case that are not the cell's; cells of one ``name`` go on from each other."""


class Points(Callback):
    """Keeps the training curve, and asks to stop after a step."""

    def __init__(self, last: int) -> None:
        self.points: list[tuple[str, int, float]] = []
        self.interruption = InterruptionFlag()
        self._last = last

    def stepped(self, step, loss, tokens_per_second) -> None:
        self.interruption.requested = step == self._last

    def logged(self, step, metrics) -> None:
        self.points += [(name, step, value) for name, value in metrics.items() if name != schema.SPEED]


def cell(settings: dict[str, str]) -> CellConfig:
    return resolve({key: value for key, value in settings.items() if key not in OURS})


def train(settings: dict[str, str], folder: Path, placement: Placement) -> list[tuple[str, int, float]]:
    """Train a cell in the numbers of its setting ``dtype``; return its curve.

    With a setting ``until``, from its newest checkpoint to so many steps.
    """
    torch.set_default_dtype(getattr(torch, settings["dtype"]))
    until = int(settings.get("until", 0))
    config = cell(settings)
    task, points = config.make_task(), Points(until if until < config.train.steps else 0)
    found = Checkpoints(folder, config, shape_of(task.io)).newest() if until else None
    trainer = assemble(config, task, placement, folder, [points], found)
    with suppress(Interrupted):
        trainer.train(points.interruption)
    return points.points


def main() -> None:
    """Train every case."""
    cases_file, rank, world, store_file, folder, out = sys.argv[1:]
    torch.set_num_threads(1)
    store = dist.FileStore(store_file, int(world))
    curves = {}
    for name, settings in json.loads(Path(cases_file).read_text()).items():
        config = cell(settings)
        where = Path(folder) / settings.get("name", name)
        if int(world) == 1:
            curves[name] = train(settings, where, Single(torch.device("cpu"), config.train))
            continue
        with join(config, dist.PrefixStore(name, store), int(rank), int(world)) as placement:
            curves[name] = train(settings, where, placement)
    Path(out).write_text(json.dumps(curves))


if __name__ == "__main__":
    main()

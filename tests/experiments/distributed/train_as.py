"""One of several processes that train cells together, and write the curves as JSON: started by tests.

Arguments: a file of cases (settings by name), number of the process, how many there are, a file that they
meet at, a folder, and a file for the curves.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed.team import join
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.placement import Placement, Single


class Points(Callback):
    """Keeps the training curve."""

    def __init__(self) -> None:
        self.points: list[tuple[str, int, float]] = []

    def logged(self, step, metrics) -> None:
        self.points += [(name, step, value) for name, value in metrics.items() if name != schema.SPEED]


def train(settings: dict[str, str], folder: Path, placement: Placement) -> list[tuple[str, int, float]]:
    """Train a cell in the numbers of its setting ``dtype``; return its curve."""
    settings = dict(settings)
    torch.set_default_dtype(getattr(torch, settings.pop("dtype")))
    config = resolve(settings)
    points = Points()
    assemble(config, config.make_task(), placement, folder, [points]).train(InterruptionFlag())
    return points.points


def main() -> None:
    """Train every case."""
    cases_file, rank, world, store_file, folder, out = sys.argv[1:]
    torch.set_num_threads(1)
    store = dist.FileStore(store_file, int(world))
    curves = {}
    for name, settings in json.loads(Path(cases_file).read_text()).items():
        config = resolve({key: value for key, value in settings.items() if key != "dtype"})
        where = Path(folder) / name
        if int(world) == 1:
            curves[name] = train(settings, where, Single(torch.device("cpu"), config.train))
            continue
        with join(config, dist.PrefixStore(name, store), int(rank), int(world)) as placement:
            curves[name] = train(settings, where, placement)
    Path(out).write_text(json.dumps(curves))


if __name__ == "__main__":
    main()

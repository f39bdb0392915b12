"""``seqsuite bench executors``: what starting a cell costs, and how much faster several at once are."""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say
from seqsuite.bench.settings import Settings
from seqsuite.errors import UserError
from seqsuite.experiments.cell import GOOD, Host
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig, ExecutorName
from seqsuite.experiments.executors import check_executor, make_executor
from seqsuite.experiments.executors.base import Plan
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.report import Column, Report, Row, Section

CELLS, QUICK_CELLS = 12, 2
STEPS, QUICK_STEPS = 150, 2
PARALLEL = 2
EXECUTORS: tuple[ExecutorName, ...] = ("inline", "processes", "ray", "slurm")

_COLUMNS = (
    Column("executor", "executor"),
    Column("start_s", "first start", "seconds"),
    Column("empty_s", "a cell of one step", "seconds"),
    Column("cell_s", "a cell", "seconds"),
    Column("speedup", "times as fast", "number"),
)


def run(settings: Settings, say: Say) -> Report:
    """Run the same cells of one thread through each executor, two at a time where it runs several."""
    count, steps = (QUICK_CELLS, QUICK_STEPS) if settings.quick else (CELLS, STEPS)
    rows: list[Row] = []
    notes = [
        f"{count} cells of one thread, {steps} steps each, with journals and checkpoints and without MLflow; "
        f"{PARALLEL} at a time, but for inline. The first start is from nothing to the end of a cell of one "
        "step; then come as many cells of one step as there are long ones: their time is the overhead of "
        "starting a cell."
    ]
    for name in EXECUTORS:
        try:
            check_executor(name)
        except UserError as error:
            notes.append(str(error))
            continue
        say(name)
        with tempfile.TemporaryDirectory() as folder:
            start = _seconds(_cells(name, Path(folder) / "one", 1, 1))
            empty = _seconds(_cells(name, Path(folder) / "empty", count, 1)) / count
            taken = _seconds(_cells(name, Path(folder) / "long", count, steps)) / count
        inline = float(str(rows[0]["cell_s"])) if rows else taken
        rows.append(
            {
                "executor": name,
                "start_s": start,
                "empty_s": empty,
                "cell_s": taken,
                "speedup": inline / taken,
            }
        )
    section = Section("executors", "The same cells through each executor", _COLUMNS, rows, notes)
    return Report(settings.command, describe_machine("cpu", (1,)), [section])


def _cells(name: ExecutorName, output: Path, count: int, steps: int) -> list[CellConfig]:
    return [
        resolve(
            {
                "task": "selective_copying",
                "scale": "smoke",
                "seed": str(seed),
                "task.eval_examples": "16",
                "train.steps": str(steps),
                "train.eval_every": str(steps),
                "run.sample_length": "4",
                "run.executor": name,
                "run.parallel": "1" if name == "inline" else str(PARALLEL),
                "run.threads": "1",
                "run.device": "cpu",
                "run.output": str(output),
            }
        )
        for seed in range(count)
    ]


def _seconds(cells: list[CellConfig]) -> float:
    """Run cells; return how long that took."""
    stop = InterruptionFlag()
    host = Host(None, lambda *_: nullcontext(Callback()), draw_nothing, stop)
    executor = make_executor(cells[0].run.executor, Plan(host, cells[0].run))
    began = time.perf_counter()
    for result in executor.run(cells, stop):
        if result.outcome not in GOOD:
            raise UserError(f"A cell of the benchmark did not finish: {result.message}")
    return time.perf_counter() - began


def draw_nothing(journal: Journal, folder: Path) -> Path:
    """Return an empty file in place of a cell's curves; in a module, as workers import it."""
    path = folder / "curves"
    path.touch()
    return path

"""``seqsuite bench tracking``: what recording a run and keeping its checkpoints costs its training."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Times
from seqsuite.bench.training import NoCheckpoints, make_trainer
from seqsuite.experiments.cell import Recorder
from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.experiments.tracking.uploader import Uploader
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.rhythm import CheckpointRhythm
from seqsuite.report import Column, Report, Row, Section

STEPS, QUICK_STEPS = 100, 20
LOG_EVERY = 10
CHECKPOINTS = 3
"""How many are saved while the steps are timed, to learn what one costs."""
WARM_UP = 2  # steps

NOTHING, JOURNAL, ALL = "nothing", "journal and MLflow", "journal, MLflow and checkpoints"

_COLUMNS = (
    Column("recorded", "recorded"),
    Column("median_s", "a step", "seconds"),
    Column("quartiles_s", "quartiles", "range", optional=True),
    Column("processor_s", "processor time a step", "seconds"),
    Column("samples", "samples", "count", optional=True),
    Column("percent", "% of training", "number"),
)


class Cost(NamedTuple):
    """Seconds: by the clock, and of processors, all threads together."""

    wall: float
    processor: float


def run(settings: Settings, say: Say) -> Report:
    """Train the same small model with nothing recorded, with all points, and with checkpoints, in turns."""
    steps = QUICK_STEPS if settings.quick else STEPS
    found: dict[str, list[Cost]] = {NOTHING: [], JOURNAL: [], ALL: []}
    with tempfile.TemporaryDirectory() as folder, _store_in(Path(folder)) as store:
        config = _config(Path(folder) / "runs", steps, quick=settings.quick)
        for repeat in range(settings.repeats):
            for name, costs in found.items():
                say(f"{name}, {repeat + 1} of {settings.repeats}")
                costs.append(_cost_of_a_step(config, name, store, settings.device))
    section = _section(found, config, steps)
    return Report(settings.command, describe_machine(settings.device, settings.threads), [section])


def _section(found: Mapping[str, list[Cost]], config: CellConfig, steps: int) -> Section:
    """Compare: an extra checkpoint's cost is spread over the seconds from one to the next."""
    times = {name: Times(tuple(cost.wall for cost in costs)) for name, costs in found.items()}
    processor = {name: statistics.median(cost.processor for cost in costs) for name, costs in found.items()}
    step = processor[NOTHING]
    journal = _extra(found, JOURNAL, NOTHING)
    checkpoint = _extra(found, ALL, JOURNAL) * (steps - WARM_UP) / CHECKPOINTS
    rows: list[Row] = [
        {
            "recorded": name,
            "median_s": taken.median,
            "quartiles_s": taken.quartiles,
            "processor_s": processor[name],
            "samples": len(taken.seconds),
            "percent": 100 * journal / step if name == JOURNAL else None,
        }
        for name, taken in times.items()
    ]
    every = config.run.checkpoint_seconds
    rows.append({"recorded": f"a checkpoint, one every {every:g} s", "percent": 100 * checkpoint / every})
    rows.append({"recorded": "together", "percent": 100 * (journal / step + checkpoint / every)})
    notes = [
        f"{config.title}, {steps} steps, a log every {LOG_EVERY} to a journal, and from there to SQLite; "
        f"with checkpoints, {CHECKPOINTS} of them in these steps.",
        "Shares are of processor time, of all threads, which other programs do not disturb; what is added is "
        "the median of the differences within a round.",
    ]
    about = {"steps": steps, "checkpoint_s": checkpoint}
    return Section("tracking", "Training with and without its record", _COLUMNS, rows, notes, about)


def _extra(found: Mapping[str, list[Cost]], with_it: str, without: str) -> float:
    """Return the processor time that something adds to a step: rounds differ by more than is measured."""
    return statistics.median(
        one.processor - other.processor for one, other in zip(found[with_it], found[without], strict=True)
    )


def _config(output: Path, steps: int, *, quick: bool) -> CellConfig:
    return resolve(
        {
            "task": "selective_copying",
            "model": "mamba",
            "scale": "smoke" if quick else "cpu",
            "task.eval_examples": "16",
            "train.steps": str(steps),
            "train.eval_every": str(steps),
            "train.log_every": str(LOG_EVERY),
            "run.output": str(output),
        }
    )


def _cost_of_a_step(config: CellConfig, recorded: str, store: Store, device: str) -> Cost:
    """Train once, and return what a step takes from the end of the warm-up to the last."""
    clock = _Clock()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=config.run.output.parent))) / "cell"
        callbacks: list[Callback] = []
        if recorded != NOTHING:
            callbacks.append(_recorder(stack, folder, config, store))
        here = config.model_copy(update={"run": config.run.model_copy(update={"output": folder})})
        trainer = make_trainer(
            here,
            config.make_task(),
            device,
            callbacks,
            checkpoints=Checkpoints if recorded == ALL else NoCheckpoints,
            rhythm=CheckpointRhythm(config.train.steps // (CHECKPOINTS + 1)),
        )
        trainer.train(InterruptionFlag(), clock)
    return clock.cost_of_a_step()


def _recorder(stack: ExitStack, folder: Path, config: CellConfig, store: Store) -> Recorder:
    """Return what records a run as :func:`~seqsuite.experiments.cell.run_cell` does."""
    lease = stack.enter_context(Lease.take(folder))
    journal = stack.enter_context(Journal.open(folder))
    journal.start(RunHeader("bench", "bench", config.title, config.model_dump(mode="json"), {}), None)
    starter = Uploader(journal, store)  # creating a run costs the same however long it trains
    starter.start()
    starter.close(60.0)
    uploader = Uploader(journal, store)
    uploader.start()
    stack.callback(uploader.close, 60.0)
    return Recorder(journal, lease)


class _Clock(Callback):
    """Notes when each step was done."""

    def __init__(self) -> None:
        self._times: list[Cost] = []

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Note the time."""
        self._times.append(Cost(time.perf_counter(), time.process_time()))

    def cost_of_a_step(self) -> Cost:
        """Return the average after the warm-up, all that happens between two steps included."""
        first, last, steps = self._times[WARM_UP - 1], self._times[-1], len(self._times) - WARM_UP
        return Cost((last.wall - first.wall) / steps, (last.processor - first.processor) / steps)


@contextmanager
def _store_in(folder: Path) -> Iterator[Store]:
    """Open an MLflow store of its own, so that the user's has no runs of a benchmark."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    try:
        yield open_store("bench")
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before

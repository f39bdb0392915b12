"""One cell from configuration to result: skip, resume or start; train; test; publish.

Whatever ends a cell but success, what was done is kept, and the same command goes on from the newest whole
checkpoint.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from seqsuite.devices import choose_device, hardware
from seqsuite.errors import UserError
from seqsuite.experiments.afresh import is_marked, mark
from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.distributed.team import team, world_size
from seqsuite.experiments.earlier import wait_for_earlier_run
from seqsuite.experiments.evaluation.judge import open_judge
from seqsuite.experiments.failures import best_effort, sentence
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.plugin_code import plugin_code
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.events import EVENTS, RunHeader, journal_tag
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease, LeaseHeld
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import CellRun, Store
from seqsuite.experiments.tracking.uploader import Uploader
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.divergence import DivergenceError
from seqsuite.experiments.training.objectives import shape_of
from seqsuite.experiments.training.placement import check_batches, check_ranks
from seqsuite.experiments.training.publish import Published, publish
from seqsuite.tasks.base import EvalSet, Task
from seqsuite.tasks.checks import check_evaluations

MakeDisplay = Callable[[CellConfig, Task, int], AbstractContextManager[Callback]]
"""Makes the progress display, from the cell, its task and the step it starts at."""

Illustrate = Callable[[Journal, Path], Path]
"""Draws a cell's curves from its journal into a folder, and describes it; returns the picture."""

Outcome = Literal["finished", "skipped", "busy", "diverged", "failed"]

log = logging.getLogger(__name__)

GOOD: tuple[Outcome, ...] = ("finished", "skipped")
"""Outcomes after which there is nothing left to do."""

ASKING_SECONDS = 60.0
"""How long a cell without a journal waits for MLflow to say whether it was run before."""

SENDING_SECONDS = 120.0
"""How long a cell that has ended waits for MLflow to take what is left."""
SENDING_SECONDS_INTERRUPTED = 5.0


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        config: The cell.
        outcome: ``"finished"`` now, ``"skipped"`` because it was finished before, ``"busy"`` because another
            process is running it, ``"diverged"`` or ``"failed"``.
        run_id: Its MLflow run; empty if there is none yet.
        message: Why it did not finish, the beginning of the sample that it generated, or what is to be known
            of the run before.
        metrics: The final metrics, such as ``"test/accuracy"``, of a finished cell.
        unsent: How many of its events MLflow has not taken yet; ``seqsuite sync`` sends them.
    """

    config: CellConfig
    outcome: Outcome
    run_id: str
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    unsent: int = 0


@dataclass(frozen=True)
class Host:
    """What cells are run with.

    Attributes:
        store: Where runs are recorded; ``None`` keeps them in their journals.
        make_display: Makes the progress display.
        illustrate: Draws a finished cell's curves, and describes it for MLflow's pages.
        interruption: Set when the user asks to stop.
        takeover: Whether to take cells over from processes that seem to be running them.
        retry_failed: Whether to start a cell afresh that diverged.
    """

    store: Store | None
    make_display: MakeDisplay
    illustrate: Illustrate
    interruption: InterruptionFlag
    takeover: bool = False
    retry_failed: bool = False


class Recorder(Callback):
    """Journals a cell's training, and stops it if another process has taken it over."""

    def __init__(self, journal: Journal, lease: Lease) -> None:
        self._journal, self._lease = journal, lease

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """Check that the cell is still this process's."""
        if self._lease.lost():
            raise _TakenOver(taken_over(self._journal.folder))

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a point."""
        self._journal.metrics(metrics, step)

    def saved(self, step: int) -> None:
        """Write all points to disk: a checkpoint never knows more than the journal."""
        self._journal.flush()


class _TakenOver(Exception):  # noqa: N818  # the state of things, not a fault
    """Another process runs the cell now."""


def taken_over(folder: Path) -> str:
    """Return in words that another process has the cell of a folder now."""
    return f"{folder.name} was taken over by another process"


def run_cell(config: CellConfig, host: Host, *, parent_run_id: str | None = None) -> CellResult:
    """Run one cell, unless it is finished; continue it if it ended in any other way.

    What stops the cell is in its result, never raised: a full disk, lack of memory, vanished data, an
    exception in a plug-in, which may be that it calls ``sys.exit``.

    Args:
        config: The cell.
        host: What it is run with.
        parent_run_id: Run of the grid that it belongs to.

    Raises:
        Interrupted: after an interruption, with the run KILLED and a checkpoint saved.
    """
    try:
        task = config.make_task()
        data = task.fingerprint()
        cell_id, folder = config.cell_id(data), config.work_folder(data)
        with Lease.take(folder, takeover=host.takeover) as lease:
            return _run_leased(_Cell(config, task, cell_id, folder, lease, parent_run_id), host)
    except LeaseHeld as held:
        return CellResult(config, "busy", "", str(held))
    except (Exception, SystemExit) as error:
        return CellResult(config, "failed", "", sentence(error))


@dataclass(frozen=True)
class _Cell:
    config: CellConfig
    task: Task
    cell_id: str
    folder: Path
    lease: Lease
    parent_run_id: str | None

    def header(self) -> RunHeader:
        config, metric = self.config, self.task.metrics[0]
        fingerprint = self.task.fingerprint()
        baselines = self.task.baselines(self.task.eval_sets("validation")[0])
        tags = {
            schema.TAG_TASK: config.task.name,
            schema.TAG_MODEL: config.model.name,
            schema.TAG_SCALE: config.scale,
            schema.TAG_SEED: str(config.seed),
            schema.TAG_HARDWARE: hardware(choose_device(config.run.device)),
            schema.TAG_DATA: fingerprint,
            schema.TAG_EVALS: ", ".join(map(_described, self.task.eval_sets("test"))),
            schema.TAG_METRIC: metric.name,
            schema.TAG_METRIC_UNIT: metric.unit,
            schema.TAG_METRIC_DIGITS: str(metric.digits),
            schema.TAG_HIGHER_IS_BETTER: str(metric.higher_is_better).lower(),
        }
        if baselines:
            tags[schema.TAG_BASELINE] = baselines[0].name
        if code := plugin_code(config):
            tags[schema.TAG_CODE] = code
        return RunHeader(
            cell_id=self.cell_id,
            group_id=config.group_id(fingerprint),
            name=config.title,
            params=config.model_dump(mode="json"),
            tags=tags,
            parent_run_id=self.parent_run_id,
        )


def _described(which: EvalSet) -> str:
    """Return an evaluation set in words: scores on sets that differ in them are not compared."""
    carried = ", carried on" if which.lanes else ""
    return f"{which.name}: {which.rows} x {which.seqlen}{carried}"


def _run_leased(cell: _Cell, host: Host) -> CellResult:
    """Run a cell whose lease is held."""
    anew = is_marked(cell.folder)
    earlier = None if anew else _earlier(cell, host)
    if earlier is not None and earlier.status == "FINISHED":
        shutil.rmtree(cell.folder, ignore_errors=True)
        return CellResult(
            cell.config, "skipped", earlier.run_id, _known_of(earlier, cell.config), metrics=earlier.metrics
        )
    diverged = _diverged(cell, earlier)
    if diverged and host.retry_failed:
        shutil.rmtree(cell.folder, ignore_errors=True)
        diverged = earlier = None
        if anew:
            mark(cell.folder)
    with Journal.open(cell.folder) as journal:
        if journal.status == "FINISHED":
            return _send(cell, host, journal, Published(journal.last_values(), ""), known="skipped")
        if diverged:
            unsent = _uploader(journal, host).close(SENDING_SECONDS, lambda: host.interruption.requested)
            run_id = journal.run_id or (earlier.run_id if earlier is not None else "")
            message = f"{diverged} It is tried again with --retry-failed or --force, or with other settings."
            return CellResult(cell.config, "diverged", run_id, message, unsent=unsent)
        _start(cell, host, journal, earlier)
        return _train(cell, host, journal, _uploader(journal, host))


def _known_of(earlier: CellRun, config: CellConfig) -> str:
    """Return what is to be known of a cell's finished run: its name where it has another, and its code."""
    name = [f"as {earlier.name}"] if earlier.name != config.title else []
    changed = plugin_code(config) != earlier.tags.get(schema.TAG_CODE, "")
    return ", ".join(name + ["with other code of its plug-ins than now"] * changed)


def _uploader(journal: Journal, host: Host) -> Uploader:
    uploader = Uploader(journal, host.store)
    uploader.start()
    return uploader


def _diverged(cell: _Cell, earlier: CellRun | None) -> str | None:
    """Return why the cell diverged before, if it did."""
    if earlier is not None and schema.TAG_DIVERGED in earlier.tags:
        return earlier.tags[schema.TAG_DIVERGED]
    return journal_tag(cell.folder, schema.TAG_DIVERGED)


def _earlier(cell: _Cell, host: Host) -> CellRun | None:
    """Return the cell's run in MLflow, if there is one and MLflow is there.

    A store that is away is waited for where only it can tell that the cell is finished.
    """
    if host.store is None:
        return None
    patience = 0.0 if (cell.folder / EVENTS).exists() else ASKING_SECONDS
    data = cell.task.fingerprint()
    try:
        return wait_for_earlier_run(
            host.store, cell.config, data, patience, lambda: host.interruption.requested
        )
    except UserError as error:
        log.warning("%s: %s The cell is run, and sent later.", cell.folder.name, error)
        return None


def _start(cell: _Cell, host: Host, journal: Journal, earlier: CellRun | None) -> None:
    """Journal the start; where MLflow has the run but the journal is gone, ask it how far that came."""
    last_steps: Mapping[str, int] = {}
    if earlier is not None and journal.run_id is None and journal.header is None:
        assert host.store is not None
        last_steps = host.store.last_steps(earlier.run_id)
    run_id = journal.run_id or (earlier.run_id if earlier is not None and journal.header is None else None)
    journal.start(cell.header(), run_id, last_steps)


def _train(cell: _Cell, host: Host, journal: Journal, uploader: Uploader) -> CellResult:
    """Train, publish and send; whatever happens instead is journaled, and what was done is kept."""
    try:
        published = _compute(cell, host, journal)
        if cell.lease.lost():  # while it was publishing
            raise _TakenOver(taken_over(cell.folder))
        journal.artifact(host.illustrate(journal, cell.folder))
        journal.end("FINISHED")
    except _TakenOver as error:
        uploader.close(0.0)  # whoever took it over sends the rest
        return CellResult(cell.config, "busy", journal.run_id or "", str(error))
    except (Exception, SystemExit) as error:
        diverged = isinstance(error, DivergenceError)
        message = sentence(error, cell.folder)
        with best_effort():
            tags = {schema.TAG_FAILURE: message}
            journal.tags(tags | ({schema.TAG_DIVERGED: message} if diverged else {}))
        unsent = _end(cell, host, journal, uploader, "FAILED")
        outcome: Outcome = "diverged" if diverged else "failed"
        return CellResult(cell.config, outcome, journal.run_id or "", message, unsent=unsent)
    except BaseException:
        _end(cell, host, journal, uploader, "KILLED")
        raise
    return _send(cell, host, journal, published, uploader)


def _end(cell: _Cell, host: Host, journal: Journal, uploader: Uploader, status: FinalStatus) -> int:
    """Journal how a cell has ended, and give MLflow a while to take what is left; return how much it has not.

    After an interruption the while is short, and where another process has taken the cell over it is none:
    that one sends the rest.
    """
    if cell.lease.lost():
        uploader.close(0.0)
        return 0
    with best_effort():
        journal.end(status)
    if status == "KILLED":
        return uploader.close(SENDING_SECONDS_INTERRUPTED)
    return uploader.close(SENDING_SECONDS, lambda: host.interruption.requested)


def _compute(cell: _Cell, host: Host, journal: Journal) -> Published:
    """Train from the newest whole checkpoint, or from the start, and publish."""
    config, task = cell.config, cell.task
    check_batches(config.train, task.io)
    check_ranks(config, task.io, world_size(config.run))
    check_evaluations(task)
    found = Checkpoints(cell.folder, config, shape_of(task.io)).newest()
    judge = open_judge(task, config.run.experiment, choose_device(config.run.device))
    with _deterministic(config.train.deterministic):
        with team(config, cell.folder, found) as placement:
            recorder = Recorder(journal, cell.lease)
            trainer = assemble(config, task, placement, cell.folder, [recorder], found)
            with host.make_display(config, task, trainer.progress.step) as display:
                trainer.train(host.interruption, display)
        return publish(trainer, config, config.title, journal, host.interruption, judge)


def _send(
    cell: _Cell,
    host: Host,
    journal: Journal,
    published: Published,
    uploader: Uploader | None = None,
    *,
    known: Outcome = "finished",
) -> CellResult:
    """Wait until MLflow has everything; then the cell's folder is no longer needed."""
    if uploader is None:
        uploader = _uploader(journal, host)
    unsent = uploader.close(SENDING_SECONDS, lambda: host.interruption.requested)
    if unsent == 0 and host.store is not None and not cell.lease.lost():
        shutil.rmtree(cell.folder, ignore_errors=True)  # what is left is deleted when it is found finished
    return CellResult(
        cell.config, known, journal.run_id or "", published.sample, dict(published.metrics), unsent
    )


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Within the context PyTorch refuses what may give other bits in another run, if that is wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)

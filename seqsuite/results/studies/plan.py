"""From a study to the cells that answer it, and which of them stand in a store."""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import Overrides, parse_arguments, span
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.identity import Identity, identity, identity_of
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Points, Reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.benchmarks import Benchmark
from seqsuite.results.best import BestReader
from seqsuite.results.studies.study import Study


@dataclass(frozen=True)
class Standing:
    """What of a study exists at a scale.

    Attributes:
        cells: Number of its cells.
        steps: Optimizer steps of all of them together.
        statuses: Number of its cells by the status of their run; those without one are left out.
        seconds: Training time of its finished cells, together.
    """

    cells: int
    steps: int
    statuses: Counter[str]
    seconds: float

    @property
    def finished(self) -> int:
        """Return the number of finished cells."""
        return self.statuses["FINISHED"]


def study_cells(name: str, study: Study, scale: str, settings: Sequence[str] = ()) -> list[CellConfig]:
    """Return the cells of a study at a scale, each once.

    Args:
        name: The study's name, for messages.
        study: The study.
        scale: One of its scales.
        settings: ``key=value`` arguments over those of its grids; several values make more cells.

    Raises:
        UserError: if it has no grid at this scale, or a setting cannot be used.
    """
    if scale not in study.grids:
        scales = ", ".join([*study.grids, *study.benches, *study.zero_shot])
        told = f"it has {scales}" if scales else "it has only published numbers"
        raise UserError(f"The study {name!r} has no grid at scale={scale}: {told}.")
    over = parse_arguments(settings)
    if "scale" in over:
        raise UserError("Choose a study's scale by --scale, not by scale=….")
    grid: list[Overrides] = []
    for line in study.grids[scale]:
        grid += span(parse_arguments(shlex.split(line)) | {"scale": [scale]} | over)
    return list({identity_of(cell): cell for cell in resolve_grid(grid)}.values())


def standing(cells: Sequence[CellConfig], runs: Sequence[CellRun]) -> Standing:
    """Return what of some cells exists among runs, which are given newest first."""
    found: dict[Identity, CellRun] = {}
    for run in runs:
        known = found.setdefault(identity(run.params), run)
        if run.status == "FINISHED" and known.status != "FINISHED":
            found[identity(run.params)] = run
    ours = [found[key] for cell in cells if (key := identity_of(cell)) in found]
    finished = [run for run in ours if run.status == "FINISHED"]
    return Standing(
        cells=len(cells),
        steps=sum(cell.train.steps for cell in cells),
        statuses=Counter(run.status for run in ours),
        seconds=sum(run.metrics.get(schema.TRAIN_SECONDS, 0.0) for run in finished),
    )


def usual_seconds(scale: str, name: str) -> float | None:
    """Return how long a cell of a built-in study trained where the results of the documentation were made."""
    times = json.loads((files(__package__) / "times.json").read_text(encoding="utf-8"))
    seconds: float | None = times.get(scale, {}).get(name)
    return seconds


def finished(cells: Sequence[CellConfig], runs: Sequence[CellRun]) -> tuple[set[Identity], int]:
    """Return the identities of those cells that have a finished run among some, on the data that is here.

    Where the data cannot be had here, a run on any counts.

    Returns:
        The identities, and how many further cells have a finished run on other data.
    """
    done: dict[Identity, set[str]] = defaultdict(set)
    for run in runs:
        if run.status == "FINISHED":
            done[identity(run.params)].add(run.tags.get(schema.TAG_DATA, ""))
    known = [(cell, found) for cell in cells if (found := done.get(identity_of(cell)))]
    here: dict[str, str | None] = {}
    for cell, _ in known:
        if str(cell.task) not in here:
            here[str(cell.task)] = _data_of(cell)
    same = {identity_of(cell) for cell, found in known if here[str(cell.task)] in (None, *found)}
    return same, len(known) - len(same)


def _data_of(cell: CellConfig) -> str | None:
    """Return the fingerprint of a cell's data, or ``None`` if that cannot be had."""
    try:
        return cell.make_task().fingerprint()
    except UserError:
        return None


def study_benchmarks(study: Study, scale: str, benchmarks: Sequence[Benchmark]) -> list[Benchmark]:
    """Return those of some benchmarks that a study has at a scale, in its order."""
    by_command = {benchmark.report.command: benchmark for benchmark in benchmarks}
    commands = [bench.command for bench in study.benches[scale]]
    return [by_command[command] for command in commands if command in by_command]


def study_reader(study: Study, reader: Reader, cells: Sequence[CellConfig]) -> Reader:
    """Return a reader of the runs that a study shows: its cells', the best where its grids are a sweep."""
    ours = StudyReader(reader, cells)
    return BestReader(ours, study.best_of) if study.best_of else ours


class StudyReader:
    """Reads only the runs of given cells."""

    def __init__(self, reader: Reader, cells: Sequence[CellConfig]) -> None:
        self.experiment = reader.experiment
        self._reader = reader
        self._wanted = {identity_of(cell) for cell in cells}

    def cells(self) -> list[CellRun]:
        """Return the runs, newest first."""
        return [run for run in self._reader.cells() if identity(run.params) in self._wanted]

    def get(self, run_id: str) -> CellRun:
        """Return one run."""
        return self._reader.get(run_id)

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step."""
        return self._reader.history(run_id, metric)

"""What the committed exports of ``docs/results`` have of each model and task, for their pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.export import FileReader
from seqsuite.results.benchmarks import read_benchmarks
from seqsuite.results.collect import collect
from seqsuite.results.studies import load_studies
from seqsuite.results.studies.plan import study_cells
from seqsuite.results.studies.study import place_of
from seqsuite.results.table import Row, Section

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Use:
    """What a study asks of one model at one scale.

    Attributes:
        study: The study's name.
        scale: The scale.
        task: The task's name.
        model: The model's name.
        mixer: Its mixer's name.
        block: Its block's name.
    """

    study: str
    scale: str
    task: str
    model: str
    mixer: str
    block: str


@cache
def sections() -> tuple[tuple[str, Section], ...]:
    """Return the tables of all exports of runs, each with its export's name, in the paper's order."""
    studies = load_studies()[0]
    found: list[tuple[str, Section]] = []
    for export in sorted(RESULTS.glob("*.json"), key=lambda path: place_of(path.stem)):
        if read_benchmarks(export) is None:
            results = collect(FileReader(export), study=studies.get(export.stem))
            found += [(export.stem, section) for section in results.sections]
    return tuple(found)


@cache
def measured_in_benchmarks() -> dict[str, frozenset[str]]:
    """Return by export of benchmarks the names of the models in its tables."""
    found = {}
    for export in RESULTS.glob("*.json"):
        benchmarks = read_benchmarks(export)
        if benchmarks is not None:
            rows = [row for one in benchmarks for section in one.report.sections for row in section.rows]
            found[export.stem] = frozenset(str(row["model"]) for row in rows if "model" in row)
    return found


@cache
def uses() -> tuple[Use, ...]:
    """Return what all studies train, in the paper's order."""
    return tuple(dict.fromkeys(_uses()))


def _uses() -> Iterator[Use]:
    studies = load_studies()[0]
    for name in sorted(studies, key=place_of):
        for scale in studies[name].grids:
            try:
                cells = study_cells(name, studies[name], scale)
            except UserError:  # of a plug-in that is not installed here
                continue
            for cell in cells:
                yield Use(
                    name, scale, cell.task.name, cell.model.name, cell.model.mixer.name, cell.model.block.name
                )


def best_rows(model: str) -> Iterator[tuple[str, Section, Row]]:
    """Yield a model's best row in each table; of its preset it may depart in its size only."""
    for study, section in sections():
        for row in section.rows:
            if row.model == model and row.departures.keys() <= {"d_model", "n_layer", "size"}:
                yield study, section, row
                break

"""What was measured of a finished model, by the names that results, studies and tables know it by."""

import math

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import LARGEST
from seqsuite.experiments.tracking.store import CellRun


def measured(cell: CellRun) -> dict[str, float]:
    """Return ``<metric>`` and ``<evaluation set>/<metric>`` of the test, and ``sample/<name>`` of samples."""
    found = {}
    for name, value in cell.metrics.items():
        if name.startswith((schema.TEST, schema.SAMPLE)):
            found[name.removeprefix(schema.TEST)] = math.inf if value > LARGEST else value
    return found


def of_samples(name: str) -> str | None:
    """Return what a metric of generated samples is called, or ``None`` if it is one of the test."""
    return name.removeprefix(schema.SAMPLE) if name.startswith(schema.SAMPLE) else None


def first_set(evals: str) -> str:
    """Return the name of the first evaluation set, which ranks models, from what a run recorded of them.

    It is empty where a run recorded nothing.
    """
    return evals.partition(":")[0]


def value_of(cell: CellRun, name: str) -> float | None:
    """Return a metric of a run; that of the first evaluation set also by the set's name."""
    found = measured(cell)
    first = first_set(cell.tags.get(schema.TAG_EVALS, ""))
    return found.get(name, found.get(name.removeprefix(f"{first}/")))

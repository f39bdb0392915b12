"""The lines of a study's picture: what its runs reached, by a setting or by what training took."""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import LARGEST
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.collect import metric_of
from seqsuite.results.filters import as_number, setting
from seqsuite.results.order import natural
from seqsuite.results.pivot import SET, axis_value, metric_by_set
from seqsuite.results.scaling import Run
from seqsuite.results.studies.study import Picture, Published, Study
from seqsuite.results.table import MetricInfo

MEASURES = {"parameters": "parameters", "flops": "training FLOPs", "tokens": "training tokens"}
"""What a picture may have across beside settings, with the words to write below."""
_SIZES = ("model.d_model", "model.n_layer", "model.size")
_AT_THE_END = re.compile(r"\d+$")


class Point(NamedTuple):
    """Values at one place of a line, one a run."""

    x: float
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Return their mean."""
        return statistics.fmean(self.values)


@dataclass(frozen=True)
class Line:
    """A line of a picture.

    Attributes:
        label: What tells it from the others.
        points: Its points, by x.
        runs: The runs with their size and operations, as far as these were recorded.
    """

    label: str
    points: tuple[Point, ...]
    runs: tuple[Run, ...] = ()


def lines_of(cells: Sequence[CellRun], picture: Picture) -> list[Line]:
    """Return the lines of finished runs.

    Args:
        cells: Runs, one a cell.
        picture: What is drawn.

    Raises:
        UserError: if no run has the metric at any number of ``x``; the sentence says which are missing.
    """
    metric = metric_for(cells, picture).name
    points: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    runs: dict[str, list[Run]] = defaultdict(list)
    for cell in cells:
        if cell.status != "FINISHED":
            continue
        label = _label(cell, picture)
        for x, key in _places(cell, picture.x or "parameters", metric):
            value = cell.metrics.get(schema.TEST + key)
            if value is not None:
                points[label][x].append(math.inf if value > LARGEST else value)
        loss, took = cell.metrics.get(schema.TEST + metric), _training(cell)
        if loss is not None and took is not None:
            runs[label].append(Run(**took, loss=loss))
    if not points:
        raise UserError(f"no run has the metric {metric!r} at a number of {picture.x!r}")
    return [
        Line(
            label,
            tuple(Point(x, tuple(values)) for x, values in sorted(found.items())),
            tuple(runs[label]),
        )
        for label, found in sorted(points.items(), key=lambda line: natural(line[0]))
    ]


def published_lines(study: Study, task: str, metric: str, x: str) -> list[Line]:
    """Return what was published of a metric by ``x``, where that is a setting or the evaluation set."""
    found: dict[str, dict[float, tuple[float, ...]]] = defaultdict(dict)
    for published in study.published:
        if published.task == task:
            for label, place, value in _published_points(published, metric, x):
                found[label][place] = (value,)
    return [
        Line(f"paper: {label}", tuple(Point(place, values) for place, values in sorted(points.items())))
        for label, points in found.items()
    ]


def metric_for(cells: Sequence[CellRun], picture: Picture) -> MetricInfo:
    """Return the metric that a picture shows."""
    usual = metric_of(cells[0])
    if picture.metric in ("", usual.name):
        return usual
    return MetricInfo(picture.metric, "nats" if "loss" in picture.metric else "", False, 3)


def _published_points(published: Published, metric: str, x: str) -> Iterator[tuple[str, float, float]]:
    for entry in published.entries():
        others = {key: value for key, value in entry.settings.items() if key != x and value != "none"}
        label = " ".join(dict.fromkeys(map(str, others.values())))
        at = entry.settings.get(x)
        for name, value in entry.values.items():
            which, _, plain = name.rpartition("/")
            if plain != metric:
                continue
            number = _at_the_end(which) if x == SET else at
            if isinstance(number, int | float) and bool(which) == (x == SET):
                yield label, float(number), value


def _label(cell: CellRun, picture: Picture) -> str:
    keys = [picture.lines] if isinstance(picture.lines, str) else picture.lines
    told = [*keys, picture.x, *(_SIZES if picture.x in MEASURES or not picture.x else ())]
    values = [axis_value(cell, key, told) for key in keys]
    if len(keys) == 1:
        return values[0]
    return " ".join(
        value if key == "model" else f"{key.rpartition('.')[2]}={value}"
        for key, value in zip(keys, values, strict=True)
    )


def _places(cell: CellRun, x: str, metric: str) -> Iterator[tuple[float, str]]:
    """Yield where on the axis a run stands, and the metric that it shows there."""
    if x == SET:
        for name, key in metric_by_set(cell, metric):
            number = _at_the_end(name) or _length_of_first(cell, name)
            if number is not None:
                yield number, key
        return
    if x in MEASURES:
        took = _training(cell)
        if took is not None:
            yield took[x], metric
        return
    number = as_number(setting(cell, x) or "")
    if number is not None:
        yield number, metric


def _training(cell: CellRun) -> dict[str, float] | None:
    """Return the parameters of a run, and the tokens and operations of its training, in six digits."""
    recorded = [
        cell.metrics.get(name)
        for name in (
            schema.PARAMETERS,
            schema.TRAIN_SECONDS,
            schema.TOKENS_PER_SECOND,
            schema.FLOPS_PER_SECOND,
        )
    ]
    if any(value is None for value in recorded):
        return None
    parameters, seconds, tokens, flops = (value or 0.0 for value in recorded)
    return {
        "parameters": parameters,
        "tokens": float(f"{seconds * tokens:.6g}"),
        "flops": float(f"{seconds * flops:.6g}"),
    }


def _at_the_end(name: str) -> float | None:
    """Return the number that a set's name ends with: 512 of ``length_512``."""
    found = _AT_THE_END.search(name)
    return float(found.group()) if found else None


def _length_of_first(cell: CellRun, name: str) -> float | None:
    """Return the length of the first evaluation set, where its name does not say it."""
    first, _, size = cell.tags.get(schema.TAG_EVALS, "").partition(", ")[0].partition(": ")
    return _at_the_end(size) if first == name else None

"""What results are: rows of cells that differ in their seed only, in sections of what may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from seqsuite.experiments.tracking import schema
from seqsuite.results.measured import of_samples
from seqsuite.results.scores import Score

if TYPE_CHECKING:
    import pandas

SMOKE = "scale=smoke shows only that things run: its numbers say nothing about the models."
"""What stands beside all that was run at that scale."""


class Paper(NamedTuple):
    """A published number, and where and with what budget it was reached."""

    value: float
    source: str
    protocol: str


@dataclass(frozen=True)
class MetricInfo:
    """The metric that ranks a section's rows.

    Attributes:
        name: Its name, such as ``bits_per_base``.
        unit: Its unit, such as ``%`` or ``bits``; empty if it has none or is not known.
        higher_is_better: Its direction.
        digits: Digits after the point that matter.
    """

    name: str
    unit: str
    higher_is_better: bool
    digits: int

    @property
    def label(self) -> str:
        """Return its name in words, with its unit where the name has it not: ``"accuracy (%)"``."""
        words = self.name.replace("_", " ")
        return words if not self.unit or self.unit in words.split() else f"{words} ({self.unit})"

    def show(self, value: float) -> str:
        """Return a value with the digits that matter."""
        return f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """Cells that differ in their seed only.

    Attributes:
        model: The model's name.
        departures: Settings of the model that are not its preset's, as keys on the command line without
            ``model.``.
        options: Further settings in which the section's rows differ.
        settings: All settings but the seed.
        score: The section's metric on its first test set.
        values: The same for each seed.
        by_seed: All that was measured by name, each for each seed.
        scores: All that was measured by name: ``<metric>`` or ``<evaluation set>/<metric>`` of the test, and
            ``sample/<name>`` of generated samples.
        paper: Published numbers of the same settings, by metric.
        validation: Mean over the seeds of the metric on the validation set, at the best checkpoint.
        steps: Optimizer steps.
        parameters: Number of trainable parameters.
        tokens_per_second: Mean training speed.
        train_seconds: Mean training time.
        versions: Versions of seqsuite that the cells were run with.
        run_ids: MLflow's ids of the runs.
    """

    model: str
    departures: Mapping[str, str]
    options: Mapping[str, str]
    settings: Mapping[str, str]
    score: Score
    values: Mapping[int, float]
    scores: Mapping[str, Score]
    validation: float | None
    steps: int | None
    parameters: int | None
    tokens_per_second: float | None
    train_seconds: float | None
    versions: tuple[str, ...]
    run_ids: tuple[str, ...]
    paper: Mapping[str, Paper] = field(default_factory=dict)
    by_seed: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return the model with its departures: ``"mamba + mixer=s4d"``."""
        return labelled(self.model, self.departures)


@dataclass(frozen=True)
class Unmatched:
    """A published number of the section's task that is that of no row."""

    label: str
    metric: str
    paper: Paper


@dataclass(frozen=True)
class Section:
    """Rows that were scored on the same data in the same way, at one scale: best first.

    Attributes:
        task: The task's name.
        scale: The scale.
        apart: Settings that tell it from other sections of its task and scale.
        data: Fingerprint of the task's data; empty if it is generated, or not known.
        metric: What ranks the rows.
        baselines: What trivial predictors reach on the first test set, by name, the usual one first.
        validation_baselines: The same on the validation set.
        rows: The rows.
        unmatched: Published numbers that stand beside no row.
        notes: Sentences on what a reader must know.
        evals: The test's evaluation sets, how many sequences each has and how long; empty if not recorded.
    """

    task: str
    scale: str
    apart: Mapping[str, str]
    data: str
    metric: MetricInfo
    baselines: Mapping[str, float]
    validation_baselines: Mapping[str, float]
    rows: tuple[Row, ...]
    unmatched: tuple[Unmatched, ...] = ()
    notes: tuple[str, ...] = ()
    evals: str = ""

    @property
    def title(self) -> str:
        """Return what sets it apart in one line."""
        apart = f" {settings_text(self.apart)}" if self.apart else ""
        return f"{self.task} scale={self.scale}{apart}"


@dataclass(frozen=True)
class Results:
    """Sections ordered by task and scale; how many cells have not finished, by status; problems met."""

    sections: tuple[Section, ...]
    unfinished: Mapping[str, int]
    problems: tuple[str, ...] = ()

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row for each group of cells, best first in each section.

        Columns are ``task``, ``scale``, ``data``, ``model``, ``label``, ``metric``, ``unit``,
        ``higher_is_better``, ``mean``, ``spread``, ``seeds``, ``validation``, ``baseline``, ``paper``,
        ``parameters``, ``tokens_per_second``, ``train_seconds``, ``steps`` and ``run_ids``; then every
        setting that is not the same in all rows, under its name on the command line, numbers as numbers; then
        ``test/<name>`` for every test metric and ``sample/<name>`` for every metric of generated samples.
        """
        import pandas

        rows = [(section, row) for section in self.sections for row in section.rows]
        keys = sorted({key for _, row in rows for key in row.settings})
        differing = [
            key
            for key in keys
            if len({row.settings.get(key) for _, row in rows}) > 1
            and key not in ("task.name", "model.name", "scale")
        ]
        return pandas.DataFrame([_record(section, row, differing) for section, row in rows])


def _record(section: Section, row: Row, differing: list[str]) -> dict[str, object]:
    metric = section.metric.name
    paper = row.paper.get(metric)
    return {
        "task": section.task,
        "scale": section.scale,
        "data": section.data,
        "model": row.model,
        "label": row.label,
        "metric": metric,
        "unit": section.metric.unit,
        "higher_is_better": section.metric.higher_is_better,
        "mean": row.score.mean,
        "spread": row.score.spread,
        "seeds": len(row.values),
        "validation": row.validation,
        "baseline": next(iter(section.baselines.values()), None),
        "paper": paper.value if paper else None,
        "parameters": row.parameters,
        "tokens_per_second": row.tokens_per_second,
        "train_seconds": row.train_seconds,
        "steps": row.steps,
        "run_ids": row.run_ids,
        **{key.removesuffix(".name"): _typed(row.settings.get(key)) for key in differing},
        **{
            name if of_samples(name) else f"{schema.TEST}{name}": score.mean
            for name, score in row.scores.items()
        },
    }


def _typed(value: str | None) -> object:
    """Return a recorded setting as what it is: a number, a truth value, nothing, or text."""
    if value is None or value == "null":
        return None
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def settings_text(settings: Mapping[str, str]) -> str:
    """Return settings as they are written on the command line: ``"mixer=s4d d_model=64"``."""
    return " ".join(
        f"{key.removesuffix('.name')}={'none' if value == 'null' else value}"
        for key, value in settings.items()
    )


def labelled(model: str, departures: Mapping[str, str]) -> str:
    """Return a model's name with its departures, if it has any."""
    return f"{model} + {settings_text(departures)}" if departures else model

"""What a study's file holds, and where files are found.

A study says what a table or figure asks, which runs answer it at which scale, and what was published: never
targets, but numbers that stand beside runs of the same settings, with the budget they were reached with.

.. code-block:: toml

    title = "Selective copying"
    source = "Gu & Dao, arXiv 2312.00752v2, Table 1"
    question = "Which layers can copy?"

    [grids]                              # the arguments of `seqsuite run`, by scale
    cpu = ["task=selective_copying model.mixer=s4,s6 seed=0..2"]

    [pivot]                              # the table: what its rows and columns are
    rows = "model.mixer"
    metric = "accuracy"

    [[figures]]                          # pictures: a metric against a setting, a line a model
    x = "task.length"                    # or "set", "parameters", "flops", "tokens"
    log = "x"

    [[expected]]                         # an order that was found: every such run ahead of every such other
    task = "selective_copying"
    better = { "model.mixer" = "s6" }
    worse = { "model.mixer" = ["s4", "hyena"] }

    [[published]]
    task = "selective_copying"
    protocol = "L = 4096, 400 K steps"   # for people
    budget = { "train.steps" = 400_000 } # to say what differs
    settings = ["model.mixer"]           # a row: values of these settings ("" is any), then of the metrics
    metrics = ["accuracy"]               # or "<evaluation set>/<metric>", or "sample/<name>"
    rows = [["s4", 56.4], ["s6", 99.8]]
"""

import math
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.results.order import Key, natural

GROUP = "seqsuite.studies"
"""Entry points of packages whose ``*.toml`` files are studies."""

_IN_THE_PAPER = (
    *("table1", "table2", "fig4", "table3", "fig5", "fig5context", "fig6", "fig7", "table4", "table5"),
    *("fig8", "table6", "table7", "table8", "table9", "table10"),
)
"""The studies of the Mamba paper in the order in which its tables and figures appear."""

Setting = str | int | float | bool
"""A setting's value; in a study's row ``""`` stands for any, and ``"none"`` for no value."""


class PublishedRow(NamedTuple):
    """Published values by metric, of runs with these settings."""

    settings: dict[str, Setting]
    values: dict[str, float]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Schema):
    """Published numbers that were reached with one protocol."""

    task: str
    """The task's name."""
    protocol: str = ""
    """The budget, for people."""
    budget: dict[str, Setting] = {}
    """The budget as settings, to say in what a run differs."""
    secondary: bool = False
    """Whether the numbers are from a secondary transcription, which is said wherever they are shown."""
    where: dict[str, Setting] = {}
    """Settings that all rows have; without a run that has those of the task the numbers are not shown."""
    settings: list[str] = []
    """Settings in which the rows differ."""
    metrics: list[str] = Field(min_length=1)
    """``<metric>`` on the first evaluation set, ``<set>/<metric>`` on a further one, ``sample/<name>`` of
    generated samples."""
    rows: list[list[Setting]]
    """A list a row: values of the settings, then of the metrics; ``nan`` for a number that is not given."""

    @model_validator(mode="after")
    def _check_rows(self) -> "Published":
        width = len(self.settings) + len(self.metrics)
        for number, row in enumerate(self.rows, start=1):
            values = row[len(self.settings) :]
            if len(row) != width or any(isinstance(value, bool | str) for value in values):
                raise ValueError(f"row {number} must have {len(self.settings)} settings, then numbers")
        return self

    def entries(self) -> Iterator[PublishedRow]:
        """Yield the rows, each with its settings and those that all have."""
        for row in self.rows:
            chosen = dict(zip(self.settings, row, strict=False))
            numbers = zip(self.metrics, row[len(self.settings) :], strict=True)
            yield PublishedRow(
                self.where | {key: value for key, value in chosen.items() if value != ""},
                {metric: float(value) for metric, value in numbers if not math.isnan(float(value))},
            )


class Expected(_Schema):
    """An order that was found: the runs with some settings are ahead of those with others."""

    task: str
    """The task's name."""
    better: dict[str, Setting | list[Setting]]
    """Settings of the runs that are ahead; of several values, any."""
    worse: dict[str, Setting | list[Setting]]
    """Settings of the runs that are behind."""
    within: list[str] = []
    """Settings that two runs must have the same to be compared."""
    larger: str = ""
    """A setting with numbers: of two runs, that with the larger is ahead, also where tests differ by it."""
    metric: str = ""
    """``<metric>``, ``<evaluation set>/<metric>`` or ``sample/<name>``; by default the task's metric on its
    first set."""
    higher_is_better: bool | None = None
    """Its direction, where that is not the task's metric's."""


class Layout(_Schema):
    """What a table's rows and columns are."""

    rows: str | list[str]
    """A setting, or several, whose values make the rows; ``model`` is a model with its departures."""
    cols: str | None = None
    """A setting whose values make the columns; ``set`` is the evaluation set."""
    metric: str = ""
    """The metric in the cells; by default the task's."""


class Picture(_Schema):
    """A picture of the runs: a metric against a setting or a measure, a line for each model."""

    kind: Literal["lines", "isoflops"] = "lines"
    """``isoflops`` is the loss by parameters at equal training operations, a panel for each model."""
    x: str = ""
    """Of lines: a setting with numbers, ``set`` for the lengths of the evaluation sets or the positions of a
    metric by position, or ``parameters``, ``flops`` or ``tokens``, those of the training."""
    label: str = ""
    """What to write below, with the unit; by default the name of ``x``."""
    metric: str = ""
    """By default the task's."""
    lines: str | list[str] = "model"
    """A setting, or several, whose values make the lines; ``model`` is a model with its departures."""
    log: Literal["", "x", "y", "xy"] = "x"
    """Which axes are logarithmic."""
    fit: Literal["", "all", "frontier"] = ""
    """A power law through the points of a line: all of them, or those that no other with as few operations is
    better than."""

    @model_validator(mode="after")
    def _check_x(self) -> "Picture":
        if (self.kind == "lines") != bool(self.x):
            raise ValueError("lines have an x, isoflops none")
        if self.fit == "frontier" and self.x != "flops":
            raise ValueError("the fit of a frontier is that of x = 'flops'")
        return self


class Bench(_Schema):
    """A benchmark to run: `seqsuite bench` with these options."""

    what: str
    """Its name, such as ``scan``."""
    shapes: list[str] = []
    """Sizes in place of the usual ones."""
    peers: str | None = None
    """Peers by commas, in place of all."""
    sweep: bool = False
    """Whether to sweep lengths."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to measure."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of sequences."""
    quick: bool = False
    """Whether to take tiny sizes."""

    @property
    def command(self) -> str:
        """Return it as it is typed, in the words of the report that it makes."""
        words = [
            "seqsuite",
            "bench",
            self.what,
            *(word for shape in self.shapes for word in ("--shape", shape)),
        ]
        words += ["--sweep"] * self.sweep
        words += ["--peers", self.peers] if self.peers else []
        words += ["--device", self.device] if self.device != "auto" else []
        words += ["--dtype", self.dtype] if self.dtype != "float32" else []
        return shlex.join([*words, *["--quick"] * self.quick])


class ZeroShot(_Schema):
    """Language models that are there already, and what they are asked, by `seqsuite eval`."""

    models: list[str] = []
    """Names on the hub, folders or runs; none where the user must say which."""
    tasks: dict[str, str] = {}
    """The metric of each of the harness's tasks; none where the user must say which."""
    tokenizer: str | None = None
    """Folder or hub name of the tokenizer, where a model has none beside it."""
    limit: int | None = None
    """At most so many questions of each task."""


class Study(_Schema):
    """A table or figure of a paper."""

    title: str
    """What it is about."""
    source: str
    """Paper, and table or figure."""
    question: str = ""
    """What it asks."""
    finding: str = ""
    """What was found, where that is no number."""
    grids: dict[str, list[str]] = {}
    """By scale, the arguments of the ``seqsuite run`` commands that answer the question."""
    benches: dict[str, list[Bench]] = {}
    """By scale, the benchmarks that answer it, where that takes no training."""
    zero_shot: dict[str, ZeroShot] = {}
    """By scale, the models to evaluate, where the study is of given ones."""
    best_of: list[str] = []
    """Settings that the grids sweep, such as ``train.learning_rate``: each model is shown with the values
    that are best for it on validation data."""
    pivot: Layout | None = None
    """The table that shows them; by default one that ranks the runs."""
    figures: list[Picture] = []
    """The pictures that show them; by default one of how each model learned, and what it reached."""
    expected: list[Expected] = []
    """The orders that were found."""
    published: list[Published] = []
    """The published numbers."""


def read_study(path: Traversable | Path) -> Study:
    """Read one study's file.

    Raises:
        UserError: if it cannot be read, or is no study; the sentence says where.
    """
    try:
        return Study.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"The study {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"The study {path} cannot be used: {place}: {first['msg']}.") from None
    except ValueError as error:  # of TOML, and of text that is not UTF-8
        raise UserError(f"The study {path} cannot be read as TOML: {error}.") from None


def load_studies() -> tuple[dict[str, Study], list[str]]:
    """Return all studies by name, and a sentence about each that cannot be used.

    Those of the Mamba paper are first, in its order, then the other built-in ones.

    A package adds its own by an entry point in the group ``seqsuite.studies`` whose value is the package that
    has the ``*.toml`` files. A built-in name cannot be replaced.
    """
    studies: dict[str, Study] = {}
    problems: list[str] = []
    for path in [*_toml_files(files(__package__)), *_of_plugins(problems)]:
        try:
            studies.setdefault(path.name.removesuffix(".toml"), read_study(path))
        except UserError as error:
            problems.append(str(error))
    return studies, problems


def find_study(name: str) -> tuple[str, Study]:
    """Return a study and its name: one that is installed, or the file that ``name`` is.

    Raises:
        UserError: if there is no such study, or it cannot be used.
    """
    if name.endswith(".toml"):
        return Path(name).stem, read_study(Path(name))
    studies, problems = load_studies()
    if name not in studies:
        told = f" ({problems[0]})" if problems else ""
        raise UserError(
            f"Unknown study {name!r}: choose from {', '.join(studies)}, or give a file.toml.{told}"
            f"{did_you_mean(name, list(studies))}"
        )
    return name, studies[name]


def _of_plugins(problems: list[str]) -> list[Traversable]:
    found: list[Traversable] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found += _toml_files(files(point.module))
        except Exception as error:  # whatever importing a stranger's package raises
            problems.append(_broken(point, error))
    return found


def _broken(point: EntryPoint, error: Exception) -> str:
    return f"The studies {point.name!r} of a plug-in cannot be found in {point.value}: {error}."


def _toml_files(folder: Traversable) -> list[Traversable]:
    return sorted(
        (path for path in folder.iterdir() if path.name.endswith(".toml")),
        key=lambda path: place_of(path.name.removesuffix(".toml")),
    )


def place_of(name: str) -> tuple[int, Key]:
    """Return what to sort studies by: those of the Mamba paper in its order, then all others by name."""
    known = _IN_THE_PAPER.index(name) if name in _IN_THE_PAPER else len(_IN_THE_PAPER)
    return known, natural(name)


def matches(wanted: Mapping[str, Setting | list[Setting]], params: Mapping[str, str]) -> bool:
    """Return whether recorded parameters have the settings, or of several values one.

    ``model.mixer`` is there ``model.mixer.name``.
    """
    return all(
        any(
            _equal(one, params.get(f"{key}.name", params.get(key)))
            for one in (value if isinstance(value, list) else [value])
        )
        for key, value in wanted.items()
    )


def _equal(wanted: Setting, recorded: str | None) -> bool:
    if recorded is None:
        return False
    if isinstance(wanted, bool):
        return recorded == str(wanted).lower()
    if isinstance(wanted, str):
        return recorded == wanted or (wanted == "none" and recorded == "null")
    try:
        return math.isclose(float(recorded), wanted)
    except ValueError:
        return False

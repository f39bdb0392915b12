"""What models scored on a card's tests, each at its best learning rate: seeds and paired differences."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.identity import Identity, identity, identity_of
from seqsuite.experiments.plugin_code import plugin_code
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import LARGEST
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.collect import metric_of
from seqsuite.results.intervals import ENOUGH_SEEDS, Difference, difference, interval
from seqsuite.results.scorecard.battery import Battery, Slot, Test
from seqsuite.results.table import MetricInfo
from seqsuite.wording import counted

Runs = Callable[[CellConfig], CellRun | None]
"""Gives a cell's finished run, if there is one."""


@dataclass(frozen=True)
class Score:
    """One model in one test.

    Attributes:
        model: What it is called.
        rate: Its learning rate: of those tried, the best on validation data.
        values: The test score of each seed.
        low: Lower end of the 95 % interval of their mean; that of the only value, where it is one.
        high: Upper end.
        ahead: By how much it is ahead of the reference; ``None`` for the reference, and without one.
        parameters: Number of trainable parameters.
        runs: The runs, of each seed.
    """

    model: str
    rate: float
    values: Mapping[int, float]
    low: float
    high: float
    ahead: Difference | None
    parameters: int
    runs: tuple[CellRun, ...]

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return statistics.fmean(self.values.values())


@dataclass(frozen=True)
class Line:
    """A test and what the models scored, the reference first, the candidate last."""

    test: Test
    metric: MetricInfo
    questions: str
    chance: float | None
    scores: tuple[Score, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """Return the ends of its scale, the worse first: the worst, and perfect or a little past the best.

        Chance is among them: models may be behind it, too.
        """
        values = [end for score in self.scores for end in (score.low, score.high) if math.isfinite(end)]
        values += [] if self.chance is None else [self.chance]
        values = values or [0.0]
        sign = 1.0 if self.metric.higher_is_better else -1.0
        worst = min(sign * value for value in values)
        best = max(sign * value for value in values)
        room = max(0.05 * (best - worst), 20 * 10.0**-self.metric.digits)
        best = best + room if self.test.perfect is None else max(best, sign * self.test.perfect)
        return sign * worst, sign * best

    def place(self, value: float) -> float:
        """Return where a value stands between the ends, from 0 to 1."""
        worst, best = self.ends
        return min(max((value - worst) / (best - worst), 0.0), 1.0)


@dataclass(frozen=True)
class Card:
    """A card.

    Attributes:
        candidate: The model that it is about.
        about: What that is, in a sentence.
        reference: The model that differences are to.
        scale: The scale.
        seeds: Seeds that each test should have.
        rates: The learning rates that were tried.
        lines: The tests.
        command: The command that makes it.
        problems: What has not finished, and what is of other code than now, a sentence each.
    """

    candidate: str
    about: str
    reference: str
    scale: str
    seeds: int
    rates: tuple[float, ...]
    lines: tuple[Line, ...]
    command: str
    problems: tuple[str, ...]

    @property
    def models(self) -> list[str]:
        """Return the models, in the order of the lines."""
        return list(dict.fromkeys(score.model for line in self.lines for score in line.scores))

    @property
    def runs(self) -> list[CellRun]:
        """Return all runs whose scores are on it."""
        return [run for line in self.lines for score in line.scores for run in score.runs]

    @property
    def seeds_told(self) -> str:
        """Return how many seeds the scores that there are have, and of how many if some have less."""
        counts = sorted({len(score.values) for line in self.lines for score in line.scores} or {0})
        found = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        of_all = "" if counts[0] == self.seeds else f" of {self.seeds}"
        return f"{found}{of_all} {'seed' if self.seeds == 1 else 'seeds'}"

    @property
    def seconds(self) -> float:
        """Return how long the candidate's runs on it trained, together."""
        runs = [
            run
            for line in self.lines
            for score in line.scores
            for run in score.runs
            if score.model == self.candidate
        ]
        return sum(run.metrics.get(schema.TRAIN_SECONDS, 0.0) for run in runs)


def sweep(slots: Iterable[Slot]) -> list[Slot]:
    """Return the cells by which learning rates are chosen: those of the first seed."""
    return [slot for slot in slots if slot.seed == 0]


def further_seeds(slots: Iterable[Slot], runs: Runs) -> list[Slot]:
    """Return the other seeds of each model's best learning rate, where all rates have finished."""
    chosen = best_rates(slots, runs)
    return [slot for slot in slots if slot.seed > 0 and chosen.get((slot.test.name, slot.model)) == slot.rate]


def best_rates(slots: Iterable[Slot], runs: Runs) -> dict[tuple[str, str], float]:
    """Return for each test and model the rate that was best on validation data, never on the test's.

    Of equal ones it is that with the lower validation loss, then the lower rate. A model that has not
    finished with every rate, which may be that it diverged, is judged by the others.
    """
    together: dict[tuple[str, str], list[tuple[tuple[float, float, float], float]]] = {}
    for slot in sweep(slots):
        run = runs(slot.cell)
        if run is not None:
            place = slot.test.name, slot.model
            together.setdefault(place, []).append((_order(slot, run), slot.rate))
    return {place: min(found)[1] for place, found in together.items()}


def _order(slot: Slot, run: CellRun) -> tuple[float, float, float]:
    """Return a sort key: the best first, what is no number last."""
    metric = metric_of(run)
    value = run.metrics.get(schema.BEST + metric.name, math.nan)
    loss = run.metrics.get(schema.VALIDATION_LOSS, math.nan)
    value = math.inf if math.isnan(value) else -value if metric.higher_is_better else value
    return value, math.inf if math.isnan(loss) else loss, slot.rate


def make_card(
    battery: Battery,
    scale: str,
    slots: Sequence[Slot],
    runs: Runs,
    *,
    candidate: str,
    about: str,
    command: str,
) -> Card:
    """Return the card of what has finished.

    Args:
        battery: The tests.
        scale: The scale of the slots.
        slots: The cells of all models.
        runs: Their finished runs.
        candidate: The model that the card is about.
        about: What that is.
        command: The command that makes it.
    """
    rates = best_rates(slots, runs)
    lines, problems, aged = [], [], Counter[str]()
    for test in battery.tests:
        ours = [slot for slot in slots if slot.test.name == test.name]
        found: dict[str, list[tuple[Slot, CellRun]]] = {}
        for slot in ours:
            run = runs(slot.cell) if rates.get((test.name, slot.model)) == slot.rate else None
            if run is not None and test.metric_at(scale) in _scores(run):
                found.setdefault(slot.model, []).append((slot, run))
                aged[slot.model] += plugin_code(slot.cell) != run.tags.get(schema.TAG_CODE, "")
        if candidate not in found:
            problems.append(f"{test.title}: {candidate} has no finished run.")
        if found:
            lines.append(_line(test, scale, found, battery.reference, candidate))
    if lines and not any(score.model == battery.reference for line in lines for score in line.scores):
        problems.append(
            f"{battery.reference}, which models are compared with, has no finished run at scale={scale}: "
            f"`seqsuite scorecard model={battery.reference} --scale {scale}` runs it."
        )
    problems += [
        f"{counted(number, 'run')} of {model} had other code of its plug-ins than there is now: --force runs "
        "what is asked for again."
        for model, number in aged.items()
        if number
    ]
    return Card(
        candidate=candidate,
        about=about,
        reference=battery.reference,
        scale=scale,
        seeds=battery.seeds[scale],
        rates=tuple(battery.rates),
        lines=tuple(lines),
        command=command,
        problems=tuple(problems),
    )


def _line(
    test: Test,
    scale: str,
    found: Mapping[str, Sequence[tuple[Slot, CellRun]]],
    reference: str,
    candidate: str,
) -> Line:
    name = test.metric_at(scale)
    values = {model: {slot.seed: _scores(run)[name] for slot, run in pairs} for model, pairs in found.items()}
    some = next(iter(found.values()))[0][1]
    metric = metric_of(some)
    scores = []
    for model in sorted(found, key=lambda model: (model == candidate, model != reference)):
        mine = values[model]
        base = values.get(reference) if model != reference else None
        low, high = interval(list(mine.values()))
        scores.append(
            Score(
                model=model,
                rate=found[model][0][0].rate,
                values=mine,
                low=low,
                high=high,
                ahead=None if base is None else difference(mine, base, metric.higher_is_better),
                parameters=int(found[model][0][1].metrics.get(schema.PARAMETERS, 0)),
                runs=tuple(run for _, run in found[model]),
            )
        )
    return Line(
        test, metric, _questions(some, test.sets.get(scale)), _chance(test, some, metric), tuple(scores)
    )


def _scores(run: CellRun) -> dict[str, float]:
    """Return the test scores of a run."""
    return {
        key.removeprefix(schema.TEST): math.inf if value > LARGEST else value
        for key, value in run.metrics.items()
        if key.startswith(schema.TEST)
    }


def _chance(test: Test, run: CellRun, metric: MetricInfo) -> float | None:
    return test.chance if test.chance is not None else run.metrics.get(schema.BASELINE + metric.name)


def _questions(run: CellRun, which: str | None) -> str:
    """Return how many sequences were tested, and how long they were: ``"256 x 64"``."""
    told = (text.partition(": ") for text in run.tags.get(schema.TAG_EVALS, "").split(", "))
    sets = {name: rows for name, _, rows in told}
    return sets.get(which, "") if which else next(iter(sets.values()), "")


def verdict(score: Score, reference: str, metric: MetricInfo) -> str:
    """Return in a plain sentence what the seeds carry of a model's difference to the reference."""
    ahead = score.ahead
    if ahead is None:
        return ""
    if ahead.seeds < ENOUGH_SEEDS:
        return f"No difference to {reference} shown: {ahead.seeds} of the {ENOUGH_SEEDS} seeds that it takes."
    if math.isnan(ahead.mean):
        return f"No difference to {reference} shown: a score is no number."
    unit = f" {metric.unit}" if metric.unit and metric.unit != "%" else " points" if metric.unit else ""
    ends = f"95 % interval {metric.show(ahead.low)} to {metric.show(ahead.high)}, {ahead.seeds} seeds"
    if ahead.verdict == "open":
        return f"No difference to {reference} shown ({ends})."
    word = "Ahead of" if ahead.verdict == "ahead" else "Behind"
    return f"{word} {reference} by {metric.show(abs(ahead.mean))}{unit} ({ends})."


def by_cell(runs: Iterable[CellRun]) -> Runs:
    """Return a way to find the finished run of a cell among runs, of several the first.

    A run is of a cell if it has its settings and its data; for the data's fingerprint a task is constructed,
    once for each data.
    """
    known: dict[tuple[Identity, str], CellRun] = {}
    for run in runs:
        if run.status == "FINISHED":
            known.setdefault((identity(run.params), run.tags.get(schema.TAG_DATA, "")), run)
    cells: dict[tuple[str, int], CellConfig] = {}

    @cache
    def fingerprint(task: str, seed: int) -> str:
        return cells[task, seed].make_task().fingerprint()

    def find(cell: CellConfig) -> CellRun | None:
        place = cell.task.model_dump_json(), cell.seed
        cells.setdefault(place, cell)
        return known.get((identity_of(cell), fingerprint(*place)))

    return find

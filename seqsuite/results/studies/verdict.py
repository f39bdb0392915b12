"""Whether a study's runs are in the order that was found."""

import math
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seqsuite.experiments.config.overrides import parse_arguments
from seqsuite.report.format import show
from seqsuite.results.filters import setting_of
from seqsuite.results.intervals import ENOUGH_SEEDS, Difference, difference
from seqsuite.results.studies.study import Expected, Study, matches
from seqsuite.results.table import Results, Row, Section
from seqsuite.wording import counted

Mark = Literal[
    "as in the paper",
    "not as in the paper",
    "not enough seeds",
    "not all runs",
    "seeds disagree",
    "no pair to compare yet",
    "smoke only",
    "–",
]
"""``smoke only`` at a scale that says nothing about models, ``–`` for a study that has no order to hold."""
_SHOWN: dict[Mark, str] = {
    "as in the paper": "The order of the models is as in the paper",
    "not as in the paper": "The order of the models is not as in the paper",
    "not all runs": "The order of the models is as in the paper in what was run, which is not all",
    "not enough seeds": "Nothing is shown: it takes three seeds",
    "seeds disagree": "Nothing is shown: the seeds disagree",
    "no pair to compare yet": "Nothing is shown yet: there are no two rows whose order was found",
    "smoke only": "Nothing is shown: scale=smoke says only that things run",
    "–": "No order of models is expected: the tables and pictures have what is seen",
}


@dataclass(frozen=True)
class Compared:
    """A pair of rows of which the first should be ahead."""

    expected: Expected
    better: Row
    worse: Row
    metric: str
    difference: Difference

    @property
    def place(self) -> str:
        """The settings that both have, where the expectation names some: ``seqlen=256``.

        Of one by which they are ordered there are two: ``seqlen=1024 over 256``.
        """
        values = {key: setting_of(self.better.settings, key) for key in self.expected.within}
        if larger := self.expected.larger:
            first, second = (setting_of(row.settings, larger) for row in (self.better, self.worse))
            values[larger] = f"{first} over {second}"
        told = {key.rpartition(".")[2]: value for key, value in values.items() if value not in (None, "null")}
        return " ".join(f"{key}={value}" for key, value in told.items())


def compared(study: Study, results: Results) -> list[Compared]:
    """Return all pairs that a study expects an order of, and that have runs."""
    found: list[Compared] = []
    for expected in study.expected:
        sections = [section for section in results.sections if section.task == expected.task]
        for together in [sections] if expected.larger else [[section] for section in sections]:
            found += _pairs(expected, together)
    return found


def mark(study: Study, scale: str, pairs: Sequence[Compared]) -> Mark:
    """Return in a few words whether the order holds.

    It holds if every pair's interval is above zero and each order that is expected has a pair of each model
    that the study's grids name, and does not if one's is below it.
    """
    if not study.expected:
        return "–"
    if scale == "smoke":
        return "smoke only"
    if not pairs:
        return "no pair to compare yet"
    verdicts = [pair.difference.verdict for pair in pairs]
    if "behind" in verdicts:
        return "not as in the paper"
    if all(verdict == "ahead" for verdict in verdicts):
        whole = all(_is_whole(study, scale, one, pairs) for one in study.expected)
        return "as in the paper" if whole else "not all runs"
    few = any(pair.difference.seeds < ENOUGH_SEEDS for pair in pairs)
    return "not enough seeds" if few else "seeds disagree"


def shown(study: Study, scale: str, pairs: Sequence[Compared]) -> str:
    """Return in sentences whether the runs show the order that was found, by how much, with which seeds."""
    seen = mark(study, scale, pairs)
    if not pairs or seen in ("–", "smoke only"):
        return f"{_SHOWN[seen]}."
    verdicts = [pair.difference.verdict for pair in pairs]
    told = ((verdicts.count("ahead"), "ahead"), (verdicts.count("behind"), "behind"))
    counts = [f"{count} {word}" for count, word in (*told, (verdicts.count("open"), "open")) if count]
    sentences = [f"{_SHOWN[seen]} (of {counted(len(pairs), 'pair')}, {', '.join(counts)})."]
    for metric in dict.fromkeys(pair.metric for pair in pairs):
        known = [pair for pair in pairs if pair.metric == metric and math.isfinite(pair.difference.mean)]
        if known:
            sentences.append(_extent(metric, sorted(known, key=lambda pair: pair.difference.mean)))
    return " ".join(sentences)


def _extent(metric: str, pairs: Sequence[Compared]) -> str:
    """Return by how much the first of each pair is ahead, of pairs in the order of that."""
    seeds = sorted({pair.difference.seeds for pair in pairs})
    over = counted(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    group, _, name = metric.rpartition("/")
    words = f"in {name.replace('_', ' ')}{f' of {group}' if group else ''}, with {over}"
    least, most = pairs[0], pairs[-1]
    if least is most:
        return f"{least.better.label} is {_against(least)} {words}."
    return (
        f"The differences go from {least.better.label} {_against(least)} to {most.better.label} "
        f"{_against(most)} {words}."
    )


def _against(pair: Compared) -> str:
    """Return by how much the first row is ahead of the other: ``ahead of s4d at length=96 by 13.000``."""
    mean = pair.difference.mean
    other = pair.worse.label + (f" at {pair.place}" if pair.place else "")
    if not mean:
        return f"level with {other}"
    return f"{'ahead of' if mean > 0 else 'behind'} {other} by {show(abs(mean), 'number', 3)}"


def _is_whole(study: Study, scale: str, expected: Expected, pairs: Sequence[Compared]) -> bool:
    """Return whether an order that is expected has a pair, and one of each value that the grids name."""
    ours = [pair for pair in pairs if pair.expected is expected]
    named: dict[str, set[str]] = defaultdict(set)
    for line in study.grids.get(scale, ()):
        for key, values in parse_arguments(shlex.split(line)).items():
            named[key] |= set(map(str, values))
    return bool(ours) and all(
        any(matches({key: one}, row.settings) for row in rows)
        for rows, wanted in (
            ([pair.better for pair in ours], expected.better),
            ([pair.worse for pair in ours], expected.worse),
        )
        for key, value in wanted.items()
        for one in (value if isinstance(value, list) else [value])
        if str(one) in named[key]
    )


def _pairs(expected: Expected, sections: Sequence[Section]) -> Iterator[Compared]:
    rows = [row for section in sections for row in section.rows]
    for section in sections:
        metric, higher = expected.metric or section.metric.name, expected.higher_is_better
        higher = section.metric.higher_is_better if higher is None else higher
        for better in section.rows:
            for worse in rows:
                if not _is_pair(expected, better, worse):
                    continue
                first, second = better.by_seed.get(metric, {}), worse.by_seed.get(metric, {})
                if first and second:
                    yield Compared(expected, better, worse, metric, difference(first, second, higher))


def _is_pair(expected: Expected, better: Row, worse: Row) -> bool:
    """Return whether the first of two rows was found to be ahead of the other."""
    if worse is better or not matches(expected.better, better.settings):
        return False
    if expected.larger and not _number(better, expected.larger) > _number(worse, expected.larger):
        return False
    return matches(expected.worse, worse.settings) and all(
        setting_of(better.settings, key) == setting_of(worse.settings, key) for key in expected.within
    )


def _number(row: Row, key: str) -> float:
    """Return a setting's number; NaN, which is larger than none and smaller than none, where it has none."""
    try:
        return float(setting_of(row.settings, key) or "")
    except ValueError:
        return math.nan

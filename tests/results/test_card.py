"""One test of a card: what the seeds carry in a sentence, and the ends of its scale."""

import math

import pytest

from seqsuite.results.intervals import Difference
from seqsuite.results.scorecard.battery import read_battery
from seqsuite.results.scorecard.card import Line, Score, verdict
from seqsuite.results.table import MetricInfo

LOSS = MetricInfo("bits_per_byte", "bits", False, 3)


def difference(mean: float, low: float, high: float, seeds: int = 3) -> Difference:
    return Difference(mean, low, high, seeds)


@pytest.mark.parametrize(
    ("ahead", "sentence"),
    [
        (None, ""),
        (
            difference(1.0, 0.5, 1.5, seeds=2),
            "No difference to mamba shown: 2 of the 3 seeds that it takes.",
        ),
        (difference(math.nan, math.nan, math.nan), "No difference to mamba shown: a score is no number."),
        (
            difference(0.5, -0.25, 1.0),
            "No difference to mamba shown (95 % interval -0.250 to 1.000, 3 seeds).",
        ),
        (difference(0.5, 0.25, 1.0), "Ahead of mamba by 0.500 bits (95 % interval 0.250 to 1.000, 3 seeds)."),
        (
            difference(-0.5, -1.0, -0.25, seeds=4),
            "Behind mamba by 0.500 bits (95 % interval -1.000 to -0.250, 4 seeds).",
        ),
    ],
)
def test_a_verdict_is_a_sentence(ahead: Difference | None, sentence: str) -> None:
    found = Score("s4", 1e-3, {0: 1.0}, 1.0, 1.0, ahead, 10, ())
    assert verdict(found, "mamba", LOSS) == sentence


@pytest.mark.parametrize(("unit", "words"), [("%", "0.500 points"), ("", "0.500"), ("dB", "0.500 dB")])
def test_a_verdict_has_the_unit(unit: str, words: str) -> None:
    found = Score("s4", 1e-3, {0: 1.0}, 1.0, 1.0, difference(0.5, 0.25, 1.0), 10, ())
    assert f"by {words} (95 %" in verdict(found, "mamba", MetricInfo("score", unit, True, 3))


@pytest.mark.parametrize(
    ("spans", "higher", "chance", "perfect", "ends"),
    [
        ([(1.0, 3.0)], False, None, None, (3.0, 0.9)),  # a twentieth past the best
        ([(1.0, 3.0)], True, None, None, (1.0, 3.1)),
        ([(1.0, 1.0)], True, None, None, (1.0, 1.02)),  # twenty steps of the last digit
        ([(1.0, 3.0), (math.inf, math.inf)], False, 5.0, None, (5.0, 0.8)),
        ([(1.0, 3.0)], False, 2.0, 0.5, (3.0, 0.5)),
        ([(1.0, 3.0)], True, 2.0, 2.5, (1.0, 3.0)),
        ([(math.nan, math.nan)], True, None, 1.0, (0.0, 1.0)),
    ],
)
def test_a_scale_ends_at_chance_and_perfect_or_past_what_was_scored(
    spans: list[tuple[float, float]],
    higher: bool,
    chance: float | None,
    perfect: float | None,
    ends: tuple[float, float],
) -> None:
    test = read_battery().tests[0].model_copy(update={"perfect": perfect})
    scores = tuple(Score("a", 1e-3, {0: low}, low, high, None, 1, ()) for low, high in spans)
    line = Line(test, MetricInfo("score", "", higher, 3), "", chance, scores)
    assert line.ends == pytest.approx(ends)
    worst, best = line.ends
    places = [line.place(at) for at in (worst, worst + (best - worst) / 4, best, worst - (best - worst))]
    assert places == pytest.approx([0.0, 0.25, 1.0, 0.0])
    assert line.place(best + (best - worst)) == 1.0

"""What seeds reached together, and how a table shows it: a deviation, or an interval."""

import io
import math

import pytest

from seqsuite.report import Report, Section, write
from seqsuite.results.intervals import interval
from seqsuite.results.scores import Score, score_cells, score_column, score_of

VALUES = [97.0, 98.0, 99.0]


def table(*values: float, intervals: bool = False) -> str:
    """Return a table of one score, in Markdown."""
    columns = (score_column("test_{}", "accuracy (%)", 1),)
    report = Report(
        "seqsuite results", {}, [Section("results", "", columns, [score_cells("test_{}", score_of(values))])]
    )
    out = io.StringIO()
    write(report, "md", out, intervals=intervals)
    return out.getvalue()


def test_a_score_has_mean_deviation_and_interval() -> None:
    assert score_of(VALUES) == (98.0, 1.0, *interval(VALUES))


@pytest.mark.parametrize("values", [[98.0], [98.0, math.nan], [98.0, math.inf]])
def test_one_seed_and_what_is_not_finite_have_a_mean_alone(values: list[float]) -> None:
    score = score_of(values)
    assert math.isnan(score.mean) or score.mean == sum(values) / len(values)
    assert score[1:] == (None, None, None)
    assert Score(98.0)[1:] == (None, None, None)


def test_a_table_shows_deviations_or_intervals() -> None:
    assert "98.0 ± 1.0" in table(*VALUES)
    low, high = interval(VALUES)
    told = table(*VALUES, intervals=True)
    assert f"98.0 ({low:.1f} to {high:.1f})" in told
    assert "±" not in told
    assert "95 % interval" in told


def test_one_seed_has_no_interval_to_show() -> None:
    assert "| 98.0 |" in table(98.0, intervals=True)

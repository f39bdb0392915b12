"""``seqsuite bench tracking``: it trains with and without a record, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Seqsuite = Callable[..., Result]


@pytest.mark.slow
def test_what_is_recorded_is_compared_with_nothing(seqsuite: Seqsuite) -> None:
    before = sorted(Path.cwd().iterdir())
    options = ("--quick", "--repeats", "1", "--threads", "1", "--format", "json")
    result = seqsuite("bench", "tracking", *options)
    (section,) = json.loads(result.stdout)["sections"]
    rows = {row["recorded"]: row for row in section["rows"]}
    names = ("nothing", "journal and MLflow", "journal, MLflow and checkpoints")
    assert all(rows[name]["median_s"] > 0 for name in names)
    added = rows["journal and MLflow"]["processor_s"] / rows["nothing"]["processor_s"] - 1
    assert rows["journal and MLflow"]["percent"] == pytest.approx(100 * added)
    every = rows["a checkpoint, one every 60 s"]["percent"]
    assert every == pytest.approx(100 * section["checkpoint_s"] / 60)
    assert rows["together"]["percent"] == pytest.approx(100 * added + every)
    assert sorted(Path.cwd().iterdir()) == before


def test_options_that_mean_nothing_here_are_refused(seqsuite: Seqsuite) -> None:
    result = seqsuite("bench", "tracking", "--shape", "1,2,3,4")
    assert result.exit_code == 2
    assert "leave out --shape" in result.output

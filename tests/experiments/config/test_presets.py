"""What the presets promise: at the smallest scale every task already teaches every model something."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from seqsuite.tasks import TASKS

NEED_PROGRAMS = {"great_apes", "sc09", "sc09_classifier"}
"""Their data comes with a package of Debian's, which need not be there."""


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(set(TASKS.names()) - NEED_PROGRAMS))
def test_a_smoke_run_beats_the_trivial_baseline(seqsuite: Callable[..., Result], task: str) -> None:
    experiment = f"smoke-{task}"
    settings = (f"task={task}", "model=mamba,s4,transformer", "scale=smoke", f"run.experiment={experiment}")
    trained = seqsuite("run", *settings)
    assert trained.exit_code == 0, trained.output
    shown = seqsuite("results", "--format", "json", "--experiment", experiment)
    (section,) = (part for part in json.loads(shown.output)["sections"] if part["kind"] == "results")
    assert {row["model"] for row in section["rows"]} == {"mamba", "s4", "transformer"}
    trivial = next(iter(section["baselines"].values()))
    for row in section["rows"]:
        mean = row["test_mean"]
        better = mean > trivial if section["higher_is_better"] else mean < trivial
        assert better, f"{row['model']}: {mean}, baseline: {trivial}"

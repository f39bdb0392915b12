from types import SimpleNamespace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments import probe as probe_module
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.probe import PROBE_STEPS, probe

TINY = {"task": "selective_copying", "scale": "smoke", "task.length": "12", "model.d_model": "8"}


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the k-th step that is timed, over all probes, take k seconds."""
    looks: list[float] = []

    def perf_counter() -> float:
        looks.append(sum(range(len(looks) + 1)))
        return looks[-1]

    monkeypatch.setattr(probe_module, "time", SimpleNamespace(perf_counter=perf_counter))
    return looks


def test_a_few_steps_after_the_first_say_how_long_a_cell_takes(steps_taken: list[float]) -> None:
    cell = resolve(TINY | {"train.steps": "50"})
    # One look before, then one after each step; of the steps after the first, the median took this long.
    assert probe([cell]) == [50 * (2 + (PROBE_STEPS + 1)) / 2]
    assert len(steps_taken) == 2 + PROBE_STEPS


def test_cells_that_differ_in_seed_or_steps_share_a_probe(steps_taken: list[float]) -> None:
    cells = [
        resolve(TINY | {"train.steps": steps, "seed": seed}) for steps in ("50", "100") for seed in ("0", "1")
    ]
    first, second, third, fourth = probe(cells)
    assert (first, third) == (second, 2 * first)
    assert third == fourth
    assert len(steps_taken) == 2 + PROBE_STEPS
    probe([cells[0], resolve(TINY | {"train.steps": "50", "train.batch_size": "4"})])
    assert len(steps_taken) == 3 * (2 + PROBE_STEPS)


def test_a_cell_of_one_step_is_timed_by_it(steps_taken: list[float]) -> None:
    assert probe([resolve(TINY | {"train.steps": "1", "train.eval_every": "1"})]) == [1.0]


def test_data_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(UserError, match="nowhere"):
        probe([resolve({"task": "text", "scale": "smoke", "task.path": "nowhere"})])

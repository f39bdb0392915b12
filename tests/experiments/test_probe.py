from types import SimpleNamespace

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments import probe as probe_module
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.memory import estimate_cells
from seqsuite.experiments.probe import Probe, probe, probe_step

TINY = {"task": "selective_copying", "scale": "smoke", "task.length": "12", "model.d_model": "8"}


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the k-th step that is timed take k seconds."""
    looks: list[float] = []

    def perf_counter() -> float:
        looks.append(sum(range(len(looks) + 1)))
        return looks[-1]

    monkeypatch.setattr(probe_module, "time", SimpleNamespace(perf_counter=perf_counter))
    return looks


def test_a_few_steps_after_the_first_say_how_long_one_takes(steps_taken: list[float]) -> None:
    # One look before, then one after each step; of those after the first, which took 2, 3, 4 and 5.
    assert probe_step(resolve(TINY | {"train.steps": "50"})).seconds == 3.5
    assert len(steps_taken) == 6


def test_a_cell_of_one_step_is_timed_by_it(steps_taken: list[float]) -> None:
    assert probe_step(resolve(TINY | {"train.steps": "1", "train.eval_every": "1"})).seconds == 1.0


def test_of_two_steps_the_second_is_timed(steps_taken: list[float]) -> None:
    assert probe_step(resolve(TINY | {"train.steps": "2", "train.eval_every": "2"})).seconds == 2.0


@pytest.mark.parametrize(("most", "memory"), [(20, 13), (5, 0), (None, None)])
def test_memory_is_what_a_process_has_grown_by(
    monkeypatch: pytest.MonkeyPatch, most: int | None, memory: int | None
) -> None:
    sizes = {"VmRSS": 7, "VmHWM": most}
    monkeypatch.setattr(probe_module, "reset_peak", lambda: True)
    monkeypatch.setattr(probe_module, "process_bytes", sizes.__getitem__)
    assert probe_step(resolve(TINY | {"train.steps": "1"})).memory == memory


def test_cells_that_differ_in_seed_or_steps_share_a_probe() -> None:
    cells = [
        resolve(TINY | {"train.steps": steps, "seed": seed}) for steps in ("50", "100") for seed in ("0", "1")
    ]
    first, second, third, fourth = probe(cells)
    assert isinstance(first, Probe)
    assert isinstance(third, Probe)
    assert (first, third) == (second, fourth)
    assert (third.seconds, third.memory) == (2 * first.seconds, first.memory)


def test_a_probe_measures_what_its_process_grows_by() -> None:
    sizes = [resolve(TINY | {"train.batch_size": size}) for size in ("2", "2048")]
    # What its threads could not use again of what others freed adds to it, in some of the processes.
    tries = [(found.memory for found in probe(sizes, threads=1) if found is not None) for _ in range(2)]
    small, large = (min(found) if None not in found else None for found in zip(*tries, strict=True))
    if small is None or large is None:
        pytest.skip("the system does not say how large processes are")
    (estimate,) = estimate_cells(sizes[1:])
    assert large - small > 0.5 * estimate.total
    assert large < 2 * estimate.total + small


def test_a_system_that_keeps_no_account_of_memory_has_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "reset_peak", lambda: False)
    found = probe_step(resolve(TINY))
    assert (found.seconds > 0, found.memory) == (True, None)


def test_a_probe_without_enough_memory_takes_nothing() -> None:
    assert probe([resolve(TINY | {"train.batch_size": "10000000000000"})]) == [None]


def test_data_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(UserError, match="nowhere"):
        probe([resolve({"task": "text", "scale": "smoke", "task.path": "nowhere"})])

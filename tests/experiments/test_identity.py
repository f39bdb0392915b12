"""Runs stay those of their cell when the suite gets options that they did not have."""

import pytest

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.identity import identity, identity_of
from seqsuite.experiments.tracking.store import flatten


@pytest.fixture(scope="module")
def cell() -> CellConfig:
    return resolve({"task": "text", "model": "mamba", "scale": "smoke", "seed": "3"})


def recorded(cell: CellConfig) -> dict[str, str]:
    return flatten(cell.model_dump(mode="json"))


def test_where_a_cell_ran_is_not_what_it_is(cell: CellConfig) -> None:
    assert identity(recorded(cell) | {"run.threads": "7"}) == identity_of(cell)
    assert identity(recorded(cell) | {"seed": "4"}) != identity_of(cell)


@pytest.mark.parametrize("option", ["train.ema", "train.graphs", "task.tokenizer", "model.mixer.selective_B"])
def test_an_option_that_came_later_is_at_its_default(cell: CellConfig, option: str) -> None:
    before = {key: value for key, value in recorded(cell).items() if key != option}
    assert len(before) == len(recorded(cell)) - 1
    assert identity(before) == identity_of(cell)


def test_an_option_that_came_later_and_is_set_makes_another_cell(cell: CellConfig) -> None:
    before = {key: value for key, value in recorded(cell).items() if key != "train.ema"}
    now = resolve({"task": "text", "model": "mamba", "scale": "smoke", "seed": "3", "train.ema": "0.9"})
    assert identity(before) != identity_of(now)


@pytest.mark.parametrize("gone", [{"task.name": "of_a_plug_in"}, {"train.gone": "1"}, {"train": "1"}])
def test_runs_of_settings_that_are_not_known_here_are_as_they_were_recorded(
    cell: CellConfig, gone: dict[str, str]
) -> None:
    known = {key: value for key, value in recorded(cell).items() if not key.startswith("run.")}
    assert identity(known | gone) == frozenset((known | gone).items())

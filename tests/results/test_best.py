"""A sweep's rows, each with the values that were best on validation data."""

from collections.abc import Callable

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.reader import Reader
from seqsuite.results.best import BestReader
from seqsuite.results.collect import collect

Record = Callable[..., str]

RATE = "train.learning_rate"


def sweep(record: Record, model: str, rate: float, test: float | None, best: float, seed: int = 0) -> str:
    return record(
        model,
        test,
        seed=seed,
        status="FAILED" if test is None else "FINISHED",
        options={RATE: rate},
        metrics={"best/bits_per_base": best},
    )


def test_each_model_has_the_rate_that_was_best_on_validation_data(reader: Reader, record: Record) -> None:
    """On the test's own data it would be a choice that flatters."""
    sweep(record, "mamba", 1e-3, test=1.80, best=1.95)
    sweep(record, "mamba", 4e-3, test=1.85, best=1.90)
    sweep(record, "s4", 1e-3, test=1.95, best=1.94)
    sweep(record, "s4", 4e-3, test=1.90, best=1.99)
    (section,) = collect(BestReader(reader, [RATE])).sections
    found = [(row.model, row.score.mean, row.settings[RATE]) for row in section.rows]
    assert found == [("mamba", 1.85, "0.004"), ("s4", 1.95, "0.001")]


def test_rates_are_compared_on_the_seeds_that_all_have(reader: Reader, record: Record) -> None:
    """So that one which was tried once with a lucky seed is not ahead of one that was tried three times."""
    for seed, best in enumerate((1.90, 1.99, 1.98)):
        sweep(record, "mamba", 1e-3, test=1.9, best=best, seed=seed)
    sweep(record, "mamba", 4e-3, test=1.8, best=1.91)
    (section,) = collect(BestReader(reader, [RATE])).sections
    assert [(row.settings[RATE], len(row.values)) for row in section.rows] == [("0.001", 3)]


def test_a_rate_that_diverged_is_not_the_best(reader: Reader, record: Record) -> None:
    sweep(record, "mamba", 1e-3, test=1.9, best=1.9)
    sweep(record, "mamba", 1.0, test=None, best=float("nan"))
    assert [cell.params[RATE] for cell in BestReader(reader, [RATE]).cells()] == ["0.001"]
    sweep(record, "s4", 1.0, test=None, best=float("nan"))
    assert len(BestReader(reader, [RATE]).cells()) == 2  # that it failed is shown


def test_a_setting_that_no_run_has_is_refused(reader: Reader, record: Record) -> None:
    sweep(record, "mamba", 1e-3, test=1.9, best=1.9)
    with pytest.raises(UserError, match=r"No run has a setting 'train.learning_rat'.*train\.learning_rate"):
        BestReader(reader, ["train.learning_rat"])

"""Which run a name stands for, and what is said where it stands for none."""

from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.sources import find_run
from seqsuite.experiments.tracking.store import CellRun


def runs(count: int) -> list[CellRun]:
    return [CellRun(f"{n}abcdefgh", f"run{n}", "FINISHED", {}, {}, {}, 0.0) for n in range(count)]


class Store:
    experiment = "e"

    def __init__(self, count: int) -> None:
        self.found = runs(count)

    def finished(self) -> list[CellRun]:
        return self.found


def told(store: Any, name: str, **able: Any) -> str:
    with pytest.raises(UserError) as raised:
        find_run(store, name, **able)
    return str(raised.value)


def test_a_run_is_found_by_its_name_its_id_or_as_the_latest_that_is_able() -> None:
    store: Any = Store(3)
    assert find_run(store, "run1") is store.found[1]
    assert find_run(store, "2ab") is store.found[2]
    assert find_run(store, "latest") is store.found[0]
    able = lambda store, run: run.name == "run2"  # noqa: E731
    assert find_run(store, "latest", able) is store.found[2]
    unable = "No finished run in experiment 'e' sings; the newest is run0: `seqsuite run` makes others."
    assert told(store, "latest", able=lambda *_: False, ability="sings") == unable


def test_where_there_is_no_such_run_the_newest_five_are_named() -> None:
    none = "No run is finished in experiment 'e': `seqsuite run` makes one."
    assert told(Store(0), "latest") == told(Store(0), "run0") == none
    five = "No finished run 'other' in experiment 'e'; the newest are: run0, run1, run2, run3, run4"
    assert told(Store(5), "other") == f"{five}."
    assert told(Store(6), "other") == f"{five}, …."

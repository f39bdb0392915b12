"""How long an uploader waits for a store that is away, by a clock that only its own waits move."""

import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import uploader as uploader_module
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.uploader import Uploader


class Away:
    """What opens a store that is away, and how often it was asked."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self) -> Any:
        self.tries += 1
        raise UserError("no server answers there")


class Clock:
    """Time that goes on while one sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("timeout", "tries"),
    [(10.0, 20), (0.5, 1), (1e9, 60)],  # every half second, for half a minute at most
)
def test_at_the_end_a_store_that_is_away_is_asked_for_a_while(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch, timeout: float, tries: int
) -> None:
    monkeypatch.setattr(uploader_module, "time", Clock())
    monkeypatch.setattr(uploader_module, "SEND_SECONDS", 1000.0)
    away = Away()
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        uploader = Uploader(journal, away)
        uploader.start()
        assert uploader.close(timeout) == 1
    assert away.tries == tries


def test_each_failure_doubles_the_wait_up_to_half_a_minute_and_a_success_ends_that(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch, fake: Any
) -> None:
    waits: list[float] = []
    over = threading.Event()

    class Closing:
        def wait(self, timeout: float) -> bool:
            waits.append(timeout)
            if len(waits) == 9:
                over.set()
            return len(waits) > 8

        def set(self) -> None:
            return

    store, number = fake(), itertools.count()

    def connect() -> Any:
        if next(number) < 6:
            raise UserError("no server answers there")
        return store

    monkeypatch.setattr(uploader_module, "threading", SimpleNamespace(Event=Closing, Thread=threading.Thread))
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        uploader = Uploader(journal, connect)
        uploader.start()
        assert over.wait(60)
        assert uploader.close(60) == 0
    assert waits == [2, 4, 8, 16, 30, 30, 30, 2, 2]

"""What is recorded stands: whole, in order, once, whatever happens to the process or the disk."""

import json
import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import EVENTS, Ended, Measured, RunHeader, Started, read_events
from seqsuite.experiments.tracking.journal import Journal


def test_events_are_read_as_they_were_written(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path / "cell") as journal:
        journal.start(header, "r1")
        journal.metrics({"test/length_256/accuracy": 0.5, "loss": math.nan}, 1)
        journal.metrics({"loss": math.inf, "low": -math.inf}, 2)
        (journal.folder / "best").mkdir()
        journal.artifact(journal.folder / "best" / "x", "samples")
        journal.model(journal.folder / "best", name="dna", params={"step": "2"})
        journal.tags({"a": "ü\n"})
        journal.end("FINISHED")
    events = [event for event, _ in read_events(tmp_path / "cell" / EVENTS)]
    names = ["start", "metrics", "metrics", "artifact", "model", "tags", "end"]
    assert [event.event for event in events] == names
    assert events[0].header.params == header.params
    assert events[0].run_id == "r1"
    assert events[1].values == pytest.approx({"test/length_256/accuracy": 0.5, "loss": math.nan}, nan_ok=True)
    assert events[2].values == {"loss": math.inf, "low": -math.inf}
    assert (events[3].path, events[3].folder) == ("best/x", "samples")
    assert events[5].tags == {"a": "ü\n"}
    for line in (tmp_path / "cell" / EVENTS).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # strict JSON, for anyone's reader


def test_a_resumed_run_repeats_steps_without_doubling_them(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        journal.metrics({"loss": 3.0, "rate": 0.1}, 1)
        journal.metrics({"loss": 2.0}, 2)
        journal.end("KILLED")
        assert journal.last_step("loss") == 2
    with Journal.open(tmp_path) as journal:
        assert (journal.status, journal.last_step("loss"), journal.last_step("none")) == ("KILLED", 2, None)
        journal.start(header, None)
        assert journal.status is None
        for step in (1, 2, 3):
            journal.metrics({"loss": 9.0, "rate": 0.2}, step)
    events = [event for event, _ in read_events(tmp_path / EVENTS) if isinstance(event, Measured)]
    points = [(event.step, key, value) for event in events for key, value in event.values.items()]
    assert points == [
        (1, "loss", 3.0),
        (1, "rate", 0.1),
        (2, "loss", 2.0),
        (2, "rate", 0.2),
        (3, "loss", 9.0),
        (3, "rate", 0.2),
    ]


def test_without_its_journal_a_run_goes_on_after_what_mlflow_has(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, "r1", last_steps={"loss": 4})
    with Journal.open(tmp_path) as journal:
        assert (journal.run_id, journal.last_step("loss")) == ("r1", 4)
        for step in (3, 4, 5):
            journal.metrics({"loss": 1.0, "rate": 1.0}, step)
    events = [event for event, _ in read_events(tmp_path / EVENTS) if isinstance(event, Measured)]
    assert [(event.step, sorted(event.values)) for event in events] == [
        (3, ["rate"]),
        (4, ["rate"]),
        (5, ["loss", "rate"]),
    ]


def test_a_line_torn_at_any_byte_is_dropped_and_the_rest_stands(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path / "whole") as journal:
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 1)
        journal.metrics({"loss": 2.0}, 2)
    whole = (tmp_path / "whole" / EVENTS).read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    (tmp_path / "torn").mkdir()
    for end in range(last, len(whole), 3):
        (tmp_path / "torn" / EVENTS).write_bytes(whole[:end] + b"\0" * (end % 3))
        with Journal.open(tmp_path / "torn") as journal:
            assert journal.last_step("loss") == 1
            journal.metrics({"loss": 2.0}, 2)
        events = [event for event, _ in read_events(tmp_path / "torn" / EVENTS)]
        assert [event.step for event in events[1:]] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b"\0\0\0",
        b"\xff\xfe",
        b'{"event":"metrics","time":1,"step":"x","values":{}}',
        b'{"event":"end","time":1,"status":"RUNNING"}',
        b'{"event":"other","time":1}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_journal_is_a_sentence(tmp_path: Path, header: RunHeader, line: bytes) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match="is damaged") as caught:
        Journal.open(tmp_path)
    assert str(tmp_path / EVENTS) in str(caught.value)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(journal: Journal) -> None:
    for step in range(10_000):
        journal.metrics({"loss": 1.0 / (step + 1)}, step)


def test_on_a_full_disk_the_journal_stays_whole_and_goes_on_later(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        with largest_file(4000), pytest.raises(UserError, match="cannot be written"):
            fill(journal)
        last = journal.last_step("loss")
        assert last is not None
        assert (tmp_path / EVENTS).read_bytes().endswith(b"\n")
        journal.metrics({"loss": 0.0}, last + 1)
        journal.end("FAILED")
    events = [event for event, _ in read_events(tmp_path / EVENTS)]
    assert [event.step for event in events if isinstance(event, Measured)] == list(range(last + 2))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        Journal.open(tmp_path / "file" / "cell")


@pytest.mark.parametrize("name", ["f(x)", "recall@5", "", "é\n", "x" * 251])
def test_a_name_that_mlflow_refuses_is_refused_before_anything_is_recorded(
    tmp_path: Path, header: RunHeader, name: str
) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        with pytest.raises(UserError, match="cannot be recorded"):
            journal.metrics({"loss": 1.0, name: 1.0}, 1)
        assert journal.last_step("loss") is None


def test_nothing_follows_a_finished_run(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        journal.end("FINISHED")
        journal.end("KILLED")
    with Journal.open(tmp_path) as journal:
        assert journal.status == "FINISHED"
        with pytest.raises(RuntimeError, match="finished"):
            journal.metrics({"loss": 1.0}, 1)


def test_a_journal_tells_curves_and_last_values(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        for step, loss in ((0, 9.0), (2, 5.0), (1, 7.0)):
            journal.metrics({"loss": loss}, step)
        journal.metrics({"x" * 250: 1.0}, 0)
        assert journal.series("loss") == [(0, 9.0), (1, 7.0), (2, 5.0)]
        assert journal.last_values() == {"loss": 5.0, "x" * 250: 1.0}
        assert (journal.last_step("loss"), journal.last_step("x" * 250)) == (2, 0)


def test_events_have_the_time_in_milliseconds(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_234_567_890)
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
    assert [event.time for event, _ in read_events(tmp_path / EVENTS)] == [1234]


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, 140_000])
def test_a_torn_line_of_any_length_is_dropped_and_what_is_before_it_stands(
    tmp_path: Path, header: RunHeader, size: int
) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        journal.metrics({"loss": 1.0}, 1)
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole + b"x" * size)
    with Journal.open(tmp_path) as journal:
        assert journal.last_step("loss") == 1
    assert (tmp_path / EVENTS).read_bytes() == whole
    (tmp_path / EVENTS).write_bytes(b"x" * size)
    Journal.open(tmp_path).close()
    assert (tmp_path / EVENTS).read_bytes() == b""

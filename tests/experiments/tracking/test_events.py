"""What a journal's events say of its run."""

from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import (
    EVENTS,
    Measured,
    RunHeader,
    Stored,
    experiment_of,
    journal_of,
    journal_status,
    journal_tag,
    read_events,
)
from seqsuite.experiments.tracking.journal import Journal


def write(folder: Path, *lines: str, end: str = "\n") -> Path:
    (folder / EVENTS).write_text("\n".join(lines) + end)
    return folder / EVENTS


POINTS = [f'{{"time":{step},"event":"metrics","step":{step},"values":{{"a":1.0}}}}' for step in (1, 2)]


def test_events_are_read_from_an_offset_up_to_the_last_whole_line(tmp_path: Path) -> None:
    path = write(tmp_path, *POINTS, "torn", end="")
    one, two = (Measured(time=step, step=step, values={"a": 1.0}) for step in (1, 2))
    length = len(POINTS[0]) + 1
    assert list(read_events(path)) == [(one, length), (two, 2 * length)]
    assert list(read_events(path, length)) == [(two, 2 * length)]
    assert list(read_events(tmp_path / "none")) == []


def test_a_damaged_journal_says_up_to_where_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, POINTS[0], "damaged")
    with pytest.raises(UserError) as raised:
        list(read_events(path))
    assert str(raised.value) == (
        f"The journal {path} is damaged (not an event before byte {len(POINTS[0]) + 9}): move it away and "
        "run again; what MLflow has is kept."
    )
    with pytest.raises(UserError, match=r"is damaged \(Is a directory\)"):
        list(read_events(tmp_path))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"run": {"experiment": "mine"}}, "mine"),
        ({"run": {"device": "cpu"}}, "seqsuite"),
        ({"run": "experiment"}, "seqsuite"),
        ({}, "seqsuite"),
    ],
)
def test_a_journal_is_of_an_experiment_once_it_is_started(
    tmp_path: Path, params: dict[str, object], expected: str
) -> None:
    with Journal.open(tmp_path) as journal:
        assert (experiment_of(journal.path), journal_of(journal.path)) == (None, None)
        assert (journal_tag(tmp_path, "a"), journal_status(tmp_path)) == (None, None)
        journal.start(RunHeader("c", "g", "n", params, {}), None)
        assert experiment_of(journal.path) == expected
        assert journal_of(journal.path)


def test_the_last_value_of_a_tag_and_the_last_end_count(tmp_path: Path, header: RunHeader) -> None:
    with Journal.open(tmp_path) as journal:
        journal.start(header, None)
        for value in ("1", "2"):
            journal.tags({"a": value})
        journal.tags({"b": "3"})
        journal.end("FAILED")
        assert (journal_tag(tmp_path, "a"), journal_tag(tmp_path, "c")) == ("2", None)
        assert journal_status(tmp_path) == "FAILED"
        journal.start(header, None)
        assert journal_status(tmp_path) is None


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ".."])
def test_no_event_leads_out_of_its_folder(path: str) -> None:
    for told in ({"path": path, "folder": None}, {"path": "x", "folder": path}):
        with pytest.raises(ValueError, match="is not in its folder"):
            Stored(time=1, **told)
    assert Stored(time=1, path="a..b/c", folder="d").path == "a..b/c"

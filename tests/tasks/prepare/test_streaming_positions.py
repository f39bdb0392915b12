"""How far a set has been streamed, and what room it needs."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import streaming
from seqsuite.tasks.prepare.manifest import write_manifest
from seqsuite.tasks.prepare.recipes import Recipe, parse_recipe
from seqsuite.tasks.prepare.streaming import Position, Taken, is_streamed, read_position, stream_set


def recipe() -> Recipe:
    words = {"summary": "x", "task": "text", "licence": "CC0", "homepage": "x", "path": "."}
    return parse_recipe("tiny", {**words, "stream": {"dataset": "nowhere", "bytes": 100}})


def test_a_part_has_64_mib_of_text() -> None:
    assert streaming.PART_BYTES == 2**26


def test_a_position_counts_what_was_taken(tmp_path: Path) -> None:
    position = Position()
    assert (position.documents, position.rows, position.bytes, position.whole) == (0, 0, 0, False)
    position.add(Taken(["ab", "é"], 4, 5, ended=False), tmp_path)
    position.add(Taken([], 0, 2, ended=False), tmp_path)
    position.add(Taken(["c"], 1, 1, ended=True), tmp_path)
    assert position.files == ["part-00000.parquet", "part-00001.parquet"]
    assert (position.documents, position.rows, position.bytes, position.whole) == (3, 8, 5, True)
    assert sorted(file.name for file in tmp_path.iterdir()) == position.files


def test_as_many_bytes_as_are_wanted_are_enough(tmp_path: Path) -> None:
    assert [Position(bytes=5).has(wanted) for wanted in (4, 5, 6)] == [True, True, False]
    assert Position(bytes=5, whole=True).has(6)
    assert not is_streamed(tmp_path, 0)
    for facts, enough in (({"bytes": 5}, [True, True, False]), ({"bytes": 5, "whole": True}, [True] * 3)):
        write_manifest(tmp_path, [], facts)
        assert [is_streamed(tmp_path, wanted) for wanted in (4, 5, 6)] == enough
    write_manifest(tmp_path, [], {"whole": False})
    assert [is_streamed(tmp_path, wanted) for wanted in (0, 1)] == [True, False]


def test_a_position_whose_files_are_gone_is_the_beginning(tmp_path: Path) -> None:
    state = {"files": ["a"], "documents": 3, "rows": 4, "bytes": 5, "whole": False}
    (tmp_path / ".stream.json").write_text(json.dumps(state))
    assert read_position(tmp_path) == Position()
    (tmp_path / "a").touch()
    assert read_position(tmp_path) == Position(["a"], 3, 4, 5)


@pytest.mark.parametrize("short", [0, 1])
def test_64_mib_of_the_disk_are_left_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    free = 7_000_000 + 2**26 - short
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, free))
    monkeypatch.setitem(sys.modules, "datasets", None)  # what is asked for next
    said = r"has 7 MB more, .* has 74 MB free" if short else "needs the package datasets"
    with pytest.raises(UserError, match=said):
        stream_set(recipe(), tmp_path, 7_000_000, lambda *_: None)

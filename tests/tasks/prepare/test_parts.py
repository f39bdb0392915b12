"""Where a corpus is cut, and what its parts have in them, to the byte."""

import json
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import parts
from seqsuite.tasks.prepare.parts import Part, cut, documents


def save(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def stretches(file: Path, part_bytes: int) -> list[tuple[int, int | None, int, bool]]:
    return [(part.start, part.end, part.size, part.is_last) for part in cut(file, part_bytes, None)]


def read(part: Part, field: str = "text") -> list[bytes]:
    return [b"".join(document) for document in documents(part, field, None)]


def test_bounds_are_powers_of_two() -> None:
    assert (parts.WHOLE, parts.SEARCH) == (2**62, 2**20)


def test_text_is_cut_behind_the_next_line(tmp_path: Path) -> None:
    file = save(tmp_path, "a.txt", b"0123\n567\n9\nbcd")
    assert stretches(file, 4) == [(0, 5, 5, False), (5, 11, 6, False), (11, 14, 3, True)]
    assert stretches(file, 5) == [(0, 9, 9, False), (9, 14, 5, True)]
    assert stretches(file, 13) == [(0, 13, 13, False), (13, 14, 1, True)]
    assert stretches(file, 14) == [(0, 14, 14, True)]
    assert [read(part) for part in cut(file, 5, None)] == [[b"0123\n567\n"], [b"9\nbcd"]]
    assert stretches(save(tmp_path, "b.txt", b"0123\n"), 2) == [(0, 5, 5, True)]
    assert stretches(save(tmp_path, "c.txt", b""), 2) == [(0, 0, 0, True)]


def test_text_without_lines_is_cut_before_a_character(tmp_path: Path) -> None:
    file = save(tmp_path, "a.txt", "😀é漢x".encode())  # of 4, 2, 3 and 1 bytes
    ends = {size: stretches(file, size)[0][1] for size in range(1, 10)}
    assert ends == {1: 4, 2: 4, 3: 4, 4: 4, 5: 6, 6: 6, 7: 9, 8: 9, 9: 9}


def test_a_line_is_looked_for_beyond_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SEARCH", 4)
    monkeypatch.setattr(parts, "LONGEST_LINE", 8)
    line = json.dumps({"text": "a"}).encode()  # of 13 bytes
    file = save(tmp_path, "a.jsonl", line + b"\n" + line)
    assert stretches(file, 3) == [(0, 14, 14, False), (14, 27, 13, True)]
    assert stretches(file, 5)[0][1] == 14
    assert stretches(file, 1)[0][1] == 13  # not one of 8 bytes at most: cut where looking ended


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON", "a.txt"])
def test_documents_are_lines_of_json_or_the_file(tmp_path: Path, name: str) -> None:
    lines = b'\xef\xbb\xbf{"text": "a"}\n \n{"text": ""}\n{"text": "\\ud800b"}'
    (part,) = cut(save(tmp_path, name, lines), 1_000, None)
    assert read(part) == ([lines[3:]] if name == "a.txt" else [b"a", b"?b"])


def test_a_bad_line_is_named_by_its_byte_in_the_file(tmp_path: Path) -> None:
    file = save(tmp_path, "a.jsonl", b'{"text": "a"}\n\n{"text": 1}\n')
    whole, (first, second) = cut(file, 99, None)[0], cut(file, 10, None)
    for part in (whole, second):
        with pytest.raises(UserError, match=r"see byte 15\.$"):
            read(part)
    assert (first.start, second.start) == (0, 14)


def test_a_line_of_the_longest_length_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SEARCH", 13)
    line = b'{"text": "abcdefghijklmn"}'  # of 26 bytes, two blocks
    (part,) = cut(save(tmp_path, "a.jsonl", line), 99, None)
    monkeypatch.setattr(parts, "LONGEST_LINE", 26)
    assert read(part) == [b"abcdefghijklmn"]
    monkeypatch.setattr(parts, "LONGEST_LINE", 25)
    with pytest.raises(UserError, match="a line has over 26 bytes"):
        read(part)


def test_parquet_is_cut_by_its_row_groups(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"id": [1, 2, 3, 4, 5], "text": ["a", "", None, "d", "e"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    size = (tmp_path / "a.parquet").stat().st_size
    found = cut(tmp_path / "a.parquet", 1, None)
    assert found == [
        Part(tmp_path / "a.parquet", "parquet", group, group + 1, size // 3, True) for group in range(3)
    ]
    assert [read(part) for part in found] == [[b"a"], [b"d"], [b"e"]]
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    assert [read(part) for part in cut(tmp_path / "none.parquet", 1, None)] in ([], [[]])


@pytest.mark.parametrize(
    ("encoding", "pieces"),
    [(None, 2), ("utf-8", 2), ("UTF8", 2), ("ascii", 2), ("latin-1", 1), ("utf-16", 1)],
)
def test_what_is_not_utf8_as_it_stands_is_one_part(tmp_path: Path, encoding: str | None, pieces: int) -> None:
    file = save(tmp_path, "a.txt", b"one\ntwo\n")
    assert len(cut(file, 3, encoding)) == pieces
    assert (cut(file, 3, encoding)[-1].end is None) == (pieces == 1)


def test_the_first_64_kib_tell_the_encoding(tmp_path: Path) -> None:
    for place, pieces in ((2**16 - 1, 1), (2**16, 2)):
        content = bytearray(b"abcd\n" * 14_000)
        content[place] = 0
        file = save(tmp_path, "a.txt", bytes(content))
        try:
            found = len(cut(file, 40_000, None))
        except UserError:
            found = 1
        assert found == pieces

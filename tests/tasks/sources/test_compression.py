"""Packed files by their first bytes, in blocks, and the limits of what they may expand to."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources import compression as module
from seqsuite.tasks.sources.compression import compression, open_lines, read_blocks

MIB = 1 << 20


def save(folder: Path, content: bytes) -> Path:
    (folder / "a").write_bytes(content)
    return folder / "a"


def test_bounds_are_powers_of_two() -> None:
    assert (module.BLOCK_SIZE, module.FREE_EXPANSION, module.LONGEST_LINE) == (2**20, 2**30, 2**26)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b"x", mtime=0), "gzip"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (lzma.compress(b"x")[:5], None),
        (b"\x1f", None),
        (b"BZ", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_how_a_file_is_packed(tmp_path: Path, content: bytes, kind: str | None) -> None:
    assert compression(save(tmp_path, content)) == kind


def test_a_packed_file_may_expand_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytes(3 * MIB)
    file = save(tmp_path, gzip.compress(whole))
    monkeypatch.setattr(module, "MAX_EXPANSION", 0)
    monkeypatch.setattr(module, "FREE_EXPANSION", 3 * MIB)
    assert [len(block) for block in read_blocks(file, "data")] == [MIB] * 3
    monkeypatch.setattr(module, "FREE_EXPANSION", 3 * MIB - 1)
    size = file.stat().st_size
    with pytest.raises(UserError, match=f"its {size} bytes of gzip expand to more than 2 MiB"):
        list(read_blocks(file, "data"))
    monkeypatch.setattr(module, "MAX_EXPANSION", 3 * MIB // size + 1)
    assert b"".join(read_blocks(file, "data")) == whole
    plain = save(tmp_path, whole)
    monkeypatch.setattr(module, "MAX_EXPANSION", 0)
    assert b"".join(read_blocks(plain, "data")) == whole


def test_lines_of_up_to_the_longest_length_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_SIZE", 4)
    monkeypatch.setattr(module, "LONGEST_LINE", 8)
    text = "abc\nabcdefg\nx\nabcdé\n"
    with open_lines(save(tmp_path, text.encode("latin-1")), "lines") as handle:
        assert handle.readlines() == ["abc\n", "abcdefg\n", "x\n", "abcdé\n"]
    with open_lines(save(tmp_path, b"abcdefgh"), "lines") as handle:
        assert handle.read() == "abcdefgh"
    for content in (b"abcdefghi", b"a\nbcdefghijklm", b"ab\nabcdefghijk\n"):
        with (
            open_lines(save(tmp_path, content), "lines") as handle,
            pytest.raises(UserError, match="is not lines: a line has over 8 bytes"),
        ):
            handle.read()

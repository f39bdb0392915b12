import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.tasks.sources import compression
from seqsuite.tasks.sources.text import detect_encoding, read_text

TEXT = "Señor Übel, naïve 漢字\n" * 20
WESTERN = "Señor Übel, naïve\n" * 20


@pytest.mark.parametrize(
    ("encoding", "detected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
    ],
)
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_unicode_is_told_apart_named_and_made_utf8(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    encoding: str,
    detected: str,
    block: int,
) -> None:
    monkeypatch.setattr(compression, "BLOCK_SIZE", block)
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert detect_encoding(TEXT.encode(encoding)) == detected
    assert read_text(tmp_path / "a.txt") == TEXT.encode()
    assert (caplog.text == "") == (encoding == "utf-8")
    assert detected.removesuffix("-sig").upper() in caplog.text or encoding == "utf-8"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_known_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(WESTERN.encode(encoding))
    assert read_text(tmp_path / "a.txt") == WESTERN.encode()


def test_latin1_is_named_and_read_as_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(WESTERN.encode("latin-1"))
    assert detect_encoding(WESTERN.encode("latin-1")) == "latin-1"
    assert read_text(file) == WESTERN.encode("latin-1")
    assert "is not UTF-8" in caplog.text
    assert "task.encoding=latin-1" in caplog.text
    assert read_text(file, "latin-1") == WESTERN.encode()


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-8", "is not utf-8 text"),
        ("klingon", "no encoding that Python knows"),
        ("hex", "no encoding that Python knows"),
    ],
)
def test_a_wrong_encoding_is_one_sentence(tmp_path: Path, encoding: str, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=message):
        read_text(tmp_path / "a.txt", encoding)


def test_compressed_text_is_read_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress(TEXT.encode()))
    assert read_text(tmp_path / "a.txt") == TEXT.encode()


def test_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"PK\0\0\x03abc\0\0")
    with pytest.raises(UserError, match="not plain text: it has zero bytes"):
        read_text(tmp_path / "a.txt")


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=100), st.integers(1, 50))
def test_utf8_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str, block: int) -> None:
    file = tmp_path_factory.getbasetemp() / "property.txt"
    file.write_bytes(text.encode())
    before, compression.BLOCK_SIZE = compression.BLOCK_SIZE, block
    try:
        assert read_text(file) == text.encode()
    finally:
        compression.BLOCK_SIZE = before


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "utf-8"),
        (b"a\0b\0", "utf-16-le"),
        (b"\0a\0b", "utf-16-be"),
        (b"a\0b\0c", "utf-16-le"),
        (b"\0a\0bc", "utf-16-be"),
        (b"a\0bcd\0ef" + b"g\0", "utf-16-le"),  # three of five
        (b"a\0bcd\0ef" + b"gh", "binary"),  # two of five
        (b"\0abc\0de" + b"f\0g", "utf-16-be"),
        (b"\0abc\0de" + b"fgh", "binary"),
        (b"a\0b\0c\0\0d", "binary"),
        (b"\0", "binary"),
        ("é".encode()[:1], "utf-8"),  # the head may end within a character
        (b"\xe9a", "latin-1"),
    ],
)
def test_zeros_at_every_second_byte_are_utf16(head: bytes, name: str) -> None:
    assert detect_encoding(head) == name


def test_the_first_byte_that_is_not_utf8_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compression, "BLOCK_SIZE", 4)
    (tmp_path / "a.txt").write_bytes(b"abcdef\xe9gh\xe9")
    assert read_text(tmp_path / "a.txt") == b"abcdef\xe9gh\xe9"
    assert len(caplog.records) == 1
    assert "(about byte 6)" in caplog.text

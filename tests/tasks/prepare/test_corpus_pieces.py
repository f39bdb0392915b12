"""What a corpus is encoded in: pieces, parts and how progress is told, to the byte."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import corpus, parts
from seqsuite.tasks.prepare.corpus import CorpusOptions, cached_corpus, prepare_corpus, tokenise


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (b"0123\n56789abc\nde", [b"0123\n", b"56789abc\n", b"de"]),
        (b"abcdefghijkl", [b"abcdefghi", b"jkl"]),
        (b"abcdefghij", [b"abcdefghi", b"j"]),
        (b"abcd\nfghi\nkl", [b"abcd\nfghi\n", b"kl"]),
        ("abcdefg漢xy".encode(), [b"abcdefg", "漢xy".encode()]),
        ("abcdef😀xy".encode(), [b"abcdef", "😀xy".encode()]),
        ("abcdefghé".encode(), [b"abcdefgh", "é".encode()]),
        (b"abcde\x80\x80\x80\x80\x80xy", [b"abcde\x80\x80\x80\x80\x80", b"xy"]),
        (b"abc", [b"abc"]),
    ],
)
def test_pieces_end_with_a_line_or_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, pieces: list[bytes]
) -> None:
    """Of text that is read five bytes at a time, a piece is encoded once there are ten."""
    seen: list[bytes] = []

    def encode(piece: bytes) -> np.ndarray:
        seen.append(piece)
        return np.frombuffer(piece, np.uint8)

    monkeypatch.setattr(corpus, "PIECE", 10)
    monkeypatch.setattr(parts, "SEARCH", 5)
    monkeypatch.setattr(corpus, "open_tokenizer", lambda _: SimpleNamespace(vocab_size=256, encode=encode))
    (tmp_path / "a.txt").write_bytes(text)
    part = parts.Part(tmp_path / "a.txt", "text", 0, len(text), len(text), True)
    assert tokenise(3, part, tmp_path, None, CorpusOptions()) is part
    assert seen == pieces
    assert (tmp_path / "000003.bin").read_bytes() == text
    assert (tmp_path / "000003.json").read_text() == f'{{"tokens": {len(text)}}}'
    assert np.load(tmp_path / "000003.npy").tolist() == [len(text)]


def test_progress_is_told_by_parts_and_documents_are_counted_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "PART_BYTES", 5)
    (tmp_path / "a.txt").write_text("0123\n5678\nab")
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n{"text": "y"}\n{"text": ""}')
    (tmp_path / "c.txt").write_text("")
    told: list[tuple[int, int]] = []
    files = [tmp_path / name for name in ("a.txt", "b.jsonl", "c.txt")]
    made = prepare_corpus(
        files, tmp_path / "made", CorpusOptions(), progress=lambda *state: told.append(state)
    )
    assert told == [(done, 52) for done in (0, 10, 12, 26, 40, 52, 52)]
    assert made.facts["documents"] == [1, 2, 1]
    assert [bytes(made[number]) for number in range(len(made))] == [b"0123\n5678\nab", b"x", b"y", b""]


def test_a_corpus_is_cached_once_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("abc")
    with caplog.at_level("INFO", logger="seqsuite"):
        one = cached_corpus([tmp_path / "a.txt"], CorpusOptions())
        two = cached_corpus([tmp_path / "a.txt"], CorpusOptions())
    assert one.folder == two.folder
    assert len(one.folder.name) == 16
    assert [record.getMessage() for record in caplog.records] == [f"Tokenising 1 file once into {one.folder}"]


def test_a_tokenizer_and_a_size_are_not_given_together(tmp_path: Path) -> None:
    for tokenizer, size in ((tmp_path / "t.json", 300), (tmp_path / "t.json", 0)):
        with pytest.raises(UserError, match="not both"):
            prepare_corpus([], tmp_path / "made", CorpusOptions(tokenizer=tokenizer, vocab_size=size))

"""How documents are split, and which of them are the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import documents
from seqsuite.tasks.prepare.corpus import PART_BYTES, PIECE, CorpusOptions
from seqsuite.tasks.prepare.documents import (
    Documents,
    Reading,
    is_large,
    named_splits,
    prepared,
    read_documents,
    split_documents,
)
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter


def save(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def lines(folder: Path, texts: list[str], name: str = "a.jsonl") -> Path:
    return save(folder, name, "\n".join(json.dumps({"text": text}) for text in texts))


def words(found: Documents) -> dict[str, list[str]]:
    return {split: [bytes(part).decode() for part in parts] for split, parts in found.streams.items()}


def token_file(folder: Path, streams: list[str], **facts: object) -> TokenFile:
    with TokenWriter(folder, 256, facts) as writer:
        for stream in streams:
            writer.append(np.frombuffer(stream.encode(), np.uint8))
            writer.end_stream()
    return TokenFile(folder)


def test_bounds_are_powers_of_two() -> None:
    sizes = (PART_BYTES, PIECE, documents.LARGE, CorpusOptions().train_bytes)
    assert sizes == (2**26, 2**20, 2**26, 2**28)


def test_a_byte_of_a_compressed_file_counts_for_eight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGE", 100)
    plain, packed = save(tmp_path, "a.txt", "x" * 20), save(tmp_path, "b.gz", b"\x1f\x8b" + b"x" * 8)
    assert not is_large([plain, packed])
    assert is_large([plain, packed, save(tmp_path, "c.txt", "x")])
    monkeypatch.setattr(documents, "LARGE", 99)
    assert is_large([plain, packed])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("wiki.train.raw wiki.valid.raw wiki.test.raw", "train validation test"),
        ("TRAINING-0 dev-1 test_2 val.3", "train validation test validation"),
        ("train valid", None),
        ("train valid test readme", None),
        ("train valid test test-train", None),
        ("train valid test test-test", "train validation test test"),
        ("trained valid test", None),
    ],
)
def test_names_say_a_split_each_and_all_three(names: str, splits: str | None) -> None:
    found = named_splits([Path(name) for name in names.split()])
    assert (None if found is None else " ".join(found.values())) == splits


def test_nine_documents_are_cut_and_ten_are_held_out_whole(tmp_path: Path) -> None:
    texts = [f"{letter}123456789" for letter in "abcdefghijkl"]
    nine = read_documents([lines(tmp_path, texts[:9])], Reading())
    assert nine.rule == documents.BY_POSITION
    assert words(nine)["train"] == [text[:8] for text in texts[:9]]
    assert words(nine)["validation"] == ["8"] * 9
    for several in (texts[:10], texts):
        found = read_documents([lines(tmp_path, several)], Reading())
        assert found.rule == documents.BY_DOCUMENT
        assert words(found) == {
            "train": texts[:8] + several[10:],
            "validation": texts[8:9],
            "test": texts[9:10],
        }
        tokens = token_file(tmp_path / f"made{len(several)}", several)
        assert words(split_documents(tokens)) == words(found)
    cut = split_documents(token_file(tmp_path / "nine", texts[:9]))
    assert (cut.rule, words(cut)) == (nine.rule, words(nine))


def test_of_documents_in_two_splits_the_first_split_keeps_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [*"abcdefgh", "a", "i", *"jklmnopq", "r", "i", *"stuvwxyz", "r", "r"]
    with caplog.at_level("INFO", logger="seqsuite"):
        found = read_documents([lines(tmp_path, texts)], Reading())
    assert words(found) == {
        "train": [*"abcdefghjklmnopqstuvwxyz"],
        "validation": ["r", "r"],
        "test": ["i", "i"],
    }
    assert [record.args for record in caplog.records] == [
        ("validation", "1 document"),
        ("test", "1 document"),
    ]
    tokens = token_file(tmp_path / "made", texts)
    assert words(split_documents(tokens)) == words(found)


def test_documents_are_told_apart_by_their_length_and_first_4096_tokens(tmp_path: Path) -> None:
    head = "x" * 4_095
    several = [head + "ab", *"1234567", head + "ac", head + "bb"]
    found = split_documents(token_file(tmp_path / "a", several))
    assert [len(found.streams[split]) for split in ("train", "validation", "test")] == [8, 0, 1]
    longer = split_documents(token_file(tmp_path / "b", [*several[:8], head + "acd", "1"]))
    assert [len(longer.streams[split]) for split in ("train", "validation", "test")] == [8, 1, 0]


def test_token_files_are_split_by_the_names_of_their_sources(tmp_path: Path) -> None:
    sources = [["x/train.jsonl", 1, 2], ["x/test.jsonl", 1, 2], ["x/dev.jsonl", 1, 2]]
    whole = split_documents(token_file(tmp_path / "a", [*"abcdef"], sources=sources, documents=[3, 1, 2]))
    assert whole.rule == documents.BY_NAME
    assert words(whole) == {"train": ["a", "b", "c"], "validation": ["e", "f"], "test": ["d"]}
    unknown = split_documents(token_file(tmp_path / "b", [*"abcdef"], sources=sources, documents=[3, 3]))
    assert unknown.rule == documents.BY_POSITION


def test_documents_without_text_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [
        save(tmp_path, name, content) for name, content in (("a", " \n"), ("b", ""), ("c", "0123456789"))
    ]
    with caplog.at_level("INFO", logger="seqsuite"):
        found = read_documents(files, Reading())
    assert words(found) == {"train": ["01234567"], "validation": ["8"], "test": ["9"]}
    assert caplog.records[-1].getMessage() == (
        f"2 of 3 files have no text in them and are left out, such as {files[0]}"
    )
    with pytest.raises(UserError, match=r"the file '.*a' has no text in it; give one that has\."):
        read_documents(files[:2], Reading())


def test_files_of_one_document_each_may_not_be_the_same(tmp_path: Path) -> None:
    files = [save(tmp_path, f"{n}.txt", "same" if n in (2, 9) else str(n)) for n in range(10)]
    with pytest.raises(
        UserError, match=r"the same content in two splits: .*2\.txt \(train\) is .*9\.txt \(test\)"
    ):
        read_documents(files, Reading())


def test_only_a_folder_of_tokens_is_prepared(tmp_path: Path) -> None:
    token_file(tmp_path / "a", ["x"])
    assert prepared(tmp_path / "a") is not None
    assert prepared(tmp_path) is None
    assert prepared(tmp_path / "a" / "manifest.json") is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "manifest.json").write_text('{"files": {}}')
    assert prepared(tmp_path / "b") is None

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import corpus, parts
from seqsuite.tasks.prepare.corpus import CorpusOptions, prepare_corpus
from seqsuite.tasks.prepare.token_files import TokenFile
from seqsuite.tasks.prepare.tokenizers import open_tokenizer, train_byte_pairs

WORDS = ["the ", "naïve ", "漢字 ", "state ", "of\n", "a\n\n"]


def prose(seed: int, words: int) -> str:
    return "".join(np.random.default_rng(seed).choice(WORDS, size=words))


def texts(file: TokenFile) -> list[str]:
    tokenizer = open_tokenizer(
        file.folder / "tokenizer.json" if (file.folder / "tokenizer.json").is_file() else None
    )
    return [tokenizer.decode(np.asarray(file[i])).decode() for i in range(len(file))]


@pytest.fixture
def documents(tmp_path: Path) -> dict[str, list[str]]:
    """Files of every kind, with the documents in each."""
    import pyarrow
    import pyarrow.parquet

    contents = {
        "a.txt": [prose(0, 3000)],
        "b.txt.gz": [prose(1, 100)],
        "c.jsonl": [prose(seed, 50) for seed in range(2, 40)],
        "d.jsonl.gz": [prose(seed, 50) for seed in range(40, 50)],
        "e.parquet": [prose(seed, 50) for seed in range(50, 60)],
    }
    (tmp_path / "a.txt").write_text(contents["a.txt"][0])
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(contents["b.txt.gz"][0].encode()))
    for name in ("c.jsonl", "d.jsonl.gz"):
        lines = "\n\n".join(json.dumps({"id": 1, "text": text}) for text in [*contents[name], ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    table = pyarrow.table({"text": [*contents["e.parquet"], None], "id": list(range(11))})
    pyarrow.parquet.write_table(table, tmp_path / "e.parquet", row_group_size=4)
    return contents


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART_BYTES", 2_000)
    monkeypatch.setattr(corpus, "PIECE", 300)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("vocab_size", [None, 270])
def test_every_document_comes_back(
    tmp_path: Path, documents: dict[str, list[str]], vocab_size: int | None
) -> None:
    if vocab_size:
        pytest.importorskip("tokenizers")
    seen: list[tuple[int, int]] = []
    made = prepare_corpus(
        [tmp_path / name for name in documents],
        tmp_path / "made",
        CorpusOptions(vocab_size=vocab_size),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert texts(made) == [text for several in documents.values() for text in several]
    assert made.facts["vocab_size"] == (vocab_size or 256)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 10
    assert not (tmp_path / "made" / "parts").exists()


@pytest.mark.usefixtures("small_parts")
def test_processes_make_the_same_tokens(tmp_path: Path, documents: dict[str, list[str]]) -> None:
    files = [tmp_path / name for name in documents]
    one = prepare_corpus(files, tmp_path / "one", CorpusOptions())
    two = prepare_corpus(files, tmp_path / "two", CorpusOptions(), workers=2)
    assert one.fingerprint == two.fingerprint


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_build_goes_on(
    tmp_path: Path, documents: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in documents]
    calls: list[int] = []
    real = corpus.tokenise

    def tokenise(number: int, *rest: Any) -> parts.Part:
        calls.append(number)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(number, *rest)

    monkeypatch.setattr(corpus, "tokenise", tokenise)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(files, tmp_path / "made", CorpusOptions())
    with pytest.raises(UserError, match="no finished token file"):
        TokenFile(tmp_path / "made")
    made = prepare_corpus(files, tmp_path / "made", CorpusOptions())
    assert sorted(calls) == sorted([*range(max(calls) + 1), 4])
    assert texts(made) == [text for several in documents.values() for text in several]
    count = len(calls)
    assert prepare_corpus(files, tmp_path / "made", CorpusOptions()).fingerprint == made.fingerprint
    assert len(calls) == count


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "b.txt").write_text("abcd")
    prepare_corpus([tmp_path / "a.txt"], tmp_path / "made", CorpusOptions())
    with pytest.raises(UserError, match="prepared from other files or options"):
        prepare_corpus([tmp_path / "b.txt"], tmp_path / "made", CorpusOptions())
    with pytest.raises(UserError, match="prepared from other files or options"):
        prepare_corpus([tmp_path / "a.txt"], tmp_path / "made", CorpusOptions(encoding="latin-1"))
    with pytest.raises(UserError, match="is not empty"):
        prepare_corpus([tmp_path / "a.txt"], tmp_path, CorpusOptions())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\nnot json\n', "not JSON lines with a text 'text' in each: see byte 14"),
        ("a.jsonl", b'{"body": "a"}\n', "not JSON lines"),
        ("a.jsonl", b'{"text": 5}\n', "not JSON lines"),
        ("a.jsonl", b"[" * 100_000, "not JSON lines"),
        ("a.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("a.parquet", b"", "cannot be read as Parquet"),
        ("a.txt", b"PK\0\0\x03abc\0\0", "not plain text"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        prepare_corpus([tmp_path / name], tmp_path / "made", CorpusOptions())


def test_a_missing_column_is_named(tmp_path: Path, documents: dict[str, list[str]]) -> None:
    with pytest.raises(UserError, match="no column 'body'; it has 'text', 'id'"):
        prepare_corpus([tmp_path / "e.parquet"], tmp_path / "made", CorpusOptions(field="body"))
    with pytest.raises(UserError, match="cannot be read as Parquet: Unsupported cast"):
        prepare_corpus([tmp_path / "e.parquet"], tmp_path / "other", CorpusOptions(field="id"))


def test_lines_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LONGEST_LINE", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"a" * (3 << 20))
    with pytest.raises(UserError, match="a line has over"):
        prepare_corpus([tmp_path / "a.jsonl"], tmp_path / "made", CorpusOptions())


@pytest.mark.usefixtures("small_parts")
def test_text_without_lines_is_cut_between_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SEARCH", 100)
    (tmp_path / "a.txt").write_text("漢字é" * 2_000)
    for part in parts.cut(tmp_path / "a.txt", 1_000, None):
        (document,) = parts.documents(part, "text", None)
        assert set(b"".join(document).decode()) <= set("漢字é")
    made = prepare_corpus([tmp_path / "a.txt"], tmp_path / "made", CorpusOptions())
    assert texts(made) == ["漢字é" * 2_000]


def test_a_tokenizer_of_ones_own(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    train_byte_pairs([prose(0, 2_000).encode()], 300, tmp_path / "my.json")
    (tmp_path / "a.txt").write_text(prose(1, 500))
    options = CorpusOptions(tokenizer=tmp_path / "my.json")
    made = prepare_corpus([tmp_path / "a.txt"], tmp_path / "made", options)
    assert texts(made) == [prose(1, 500)]
    assert len(made.tokens) < len(prose(1, 500).encode())
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(UserError, match=r"not a tokenizer\.json"):
        prepare_corpus([tmp_path / "a.txt"], tmp_path / "b", CorpusOptions(tokenizer=tmp_path / "no.json"))
    with pytest.raises(UserError, match="too small"):
        train_byte_pairs([b"abc"], 100, tmp_path / "small.json")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_parts_are_the_whole_file_and_none_is_empty(tmp_path: Path, name: str) -> None:
    """A part that would end within the last line of JSON ends with the file."""
    file = tmp_path / name
    file.write_text('{"text": ""}\n{"text": "' + "x" * 27 + '"}\n')
    for size in range(1, 60):
        found = parts.cut(file, size, None)
        assert all(part.end is not None and part.start < part.end for part in found)
        assert [part.start for part in found[1:]] == [part.end for part in found[:-1]]
        assert (found[0].start, found[-1].end) == (0, 53)
        assert [part.is_last for part in found] == [False] * (len(found) - 1) + [True]


def test_training_reads_a_part_of_the_corpus_only(tmp_path: Path, documents: dict[str, list[str]]) -> None:
    cut = [part for name in documents for part in parts.cut(tmp_path / name, 2_000, None)]
    sample = b"".join(corpus.training_sample(cut, CorpusOptions(train_bytes=3_000)))
    assert 2_000 < len(sample) <= 3_000 + len(cut)


def test_each_part_gives_its_share_of_what_is_trained_on_to_the_last_byte(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"text": text}) for text in ("abcdefghi", "jklmno", "pq"))
    (tmp_path / "a.jsonl").write_text(lines)
    whole = parts.cut(tmp_path / "a.jsonl", 1_000_000, None)
    for train_bytes, expected in ((9, b"abcdefghij"), (8, b"abcdefghi"), (99, b"abcdefghijklmnopq")):
        options = CorpusOptions(train_bytes=train_bytes)
        assert b"".join(corpus.training_sample(whole, options)) == expected

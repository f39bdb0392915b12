import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.prepare import documents
from seqsuite.tasks.prepare.corpus import CorpusOptions, prepare_corpus
from seqsuite.tasks.sources import samples
from seqsuite.tasks.text import Text


@pytest.fixture(scope="module")
def speeches() -> Text:
    return Text(seed=0)


def test_default_holds_out_whole_years_of_speeches(speeches):
    counts = {split: len(parts) for split, parts in speeches.streams.items()}
    assert counts == {"train": 202, "validation": 25, "test": 22}
    train, validation = (
        {part.tobytes() for part in speeches.streams[split]} for split in ("train", "validation")
    )
    assert not train & validation
    assert any(part.startswith(b"Fellow-Citizens of the Senate") for part in train)


def test_transcribers_notes_are_gone_and_the_texts_own_brackets_stay(speeches):
    everything = b"".join(part.tobytes() for parts in speeches.streams.values() for part in parts).lower()
    for note in (
        b"applause]",
        b"[laughter",
        b"[members of the audience",
        b"[audience",
        b"[see app note",
        b"[inaudible",
    ):
        assert note not in everything
    assert b"[in millions]" in everything


def test_a_batch_decodes_to_prose(rows, speeches):
    inputs, targets, *_ = rows(speeches, "train", 0, 2)
    assert inputs.shape == targets.shape == (2, 256)
    assert speeches.codec.decode(inputs[0])[1:] == speeches.codec.decode(targets[0])[:-1]
    assert " the " in speeches.codec.decode(np.concatenate([*inputs]))


def test_unigram_baseline_is_that_of_english(speeches):
    task_ = speeches
    first, *_ = task_.baselines(task_.eval_sets("validation")[0])
    name, bits = first.name, first.value
    assert name == "unigram"
    assert 4.2 < bits < 4.6


def test_evaluation_is_capped(speeches):
    assert [which.rows for which in speeches.eval_sets("validation")] == [512]


def test_a_file_of_ones_own(tmp_path: Path):
    file = tmp_path / "poem.md"
    file.write_bytes(bytes(range(1, 101)))
    task = Text(seed=0, seqlen=4, path=file)
    assert [part.tobytes() for part in task.streams["validation"]] == [bytes(range(81, 91))]
    assert task.prompt().tolist() == [91, 92, 93, 94]


def test_a_folder_of_ones_own(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    for i in range(10):
        (tmp_path / "deep" / f"{i}.txt").write_text(f"{i}" * 30)
    (tmp_path / "picture.png").write_bytes(b"\0")
    task = Text(seed=0, seqlen=8, path=tmp_path)
    assert [part.tobytes() for part in task.streams["validation"]] == [b"8" * 30]
    assert [part.tobytes() for part in task.streams["test"]] == [b"9" * 30]


def test_files_without_text_are_left_out_with_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "a.txt").write_text("ab" * 50)
    (tmp_path / "b.txt").write_text("\n")
    with caplog.at_level("INFO", logger="seqsuite"):
        task = Text(seed=0, seqlen=4, path=tmp_path)
        assert task.streams["train"][0].tobytes() == b"ab" * 40
    assert "1 of 2 files" in caplog.text
    assert "b.txt" in caplog.text


def test_decode_shows_what_a_terminal_can_and_render_keeps_the_bytes(tmp_path: Path, speeches):
    tokens = [*"a\x1b[31mé\n".encode(), 0xFF]
    assert speeches.codec.decode(tokens) == "a\ufffd[31mé\n\ufffd"
    speeches.codec.write(tokens, tmp_path / "sample.txt")
    assert (tmp_path / "sample.txt").read_bytes() == bytes(tokens)


def test_bad_files_are_one_sentence(tmp_path: Path):
    with pytest.raises(UserError, match=r"no file or folder at task\.path="):
        Text(seed=0, path=tmp_path / "missing.txt")
    with pytest.raises(UserError, match=r"no text files: they should end in \.txt"):
        Text(seed=0, path=tmp_path)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="has no text in it"):
        Text(seed=0, path=tmp_path).fingerprint()
    (tmp_path / "binary.bin").write_bytes(b"PK\0\0")
    with pytest.raises(UserError, match="not plain text"):
        Text(seed=0, path=tmp_path / "binary.bin").fingerprint()
    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(UserError, match="too short"):
        Text(seed=0, path=tmp_path / "short.txt").fingerprint()


def test_a_missing_sample_package_is_named(monkeypatch):
    monkeypatch.setitem(samples.SAMPLE_DISTRIBUTIONS, "text", ("no-such-samples",))
    with pytest.raises(UserError, match=r"'text' .* 'no-such-samples'.*pip install 'seqsuite\[samples\]'"):
        Text(seed=0)


def write_lines(file: Path, texts: list[str], field: str = "text") -> None:
    file.write_text("".join(json.dumps({field: text}) + "\n" for text in texts))


def sentences(count: int) -> list[str]:
    return [f"document {number} has {number**3} words in it, and ends.\n" for number in range(count)]


def test_json_lines_are_documents_and_a_shared_one_is_not_evaluated(tmp_path: Path, caplog):
    texts = sentences(20)
    texts[9] = texts[0]  # the tenth is test
    write_lines(tmp_path / "a.jsonl", texts, "body")
    task = Text(seed=0, seqlen=8, path=tmp_path, field="body")
    with caplog.at_level("INFO"):
        assert [len(task.streams[split]) for split in ("train", "validation", "test")] == [16, 2, 1]
    assert "test: left out, since in another split too: 1 document" in caplog.text
    assert "1 file read" in task.describe()


def test_files_that_name_their_split_are_of_it(tmp_path: Path, monkeypatch, seqsuite):
    """As WikiText-103 has them; a corpus that is tokenised into the cache splits in the same way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "wiki"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"wiki.{name}.raw").write_text(f"the {name} split; " * 20)
    in_memory = Text(seed=0, seqlen=8, path=folder)
    monkeypatch.setattr(documents, "LARGE", 100)
    mapped = Text(seed=0, seqlen=8, path=folder)
    for task in (in_memory, mapped):
        for split, name in {"train": "train", "validation": "valid", "test": "test"}.items():
            (stream,) = task.streams[split]
            assert bytes(np.asarray(stream)) == f"the {name} split; ".encode() * 20
    assert in_memory.fingerprint() == mapped.fingerprint()
    shown = " ".join(seqsuite("data", "info", str(folder)).output.split())
    assert "test 320 tokens in 1 stream" in shown
    (folder / "wiki.notes.raw").write_text("of no split")  # then the names decide nothing
    assert len(Text(seed=0, seqlen=8, path=folder).streams["test"]) == 4


def test_the_same_file_in_two_splits_is_refused(tmp_path: Path):
    for number, text in enumerate(sentences(10)):
        (tmp_path / f"{number}.txt").write_text(text)
    shutil.copy(tmp_path / "0.txt", tmp_path / "9.txt")
    with pytest.raises(
        UserError, match=r"same content in two splits: .*0\.txt \(train\) is .*9\.txt \(test\)"
    ):
        Text(seed=0, seqlen=8, path=tmp_path).train_batch(range(1))


def test_hidden_and_other_files_are_not_read_and_said(tmp_path: Path):
    (tmp_path / "a.txt").write_text("abc" * 50)
    (tmp_path / "a.pdf").write_text("abc" * 50)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "a.txt").write_text("abc" * 50)
    assert "(1 file read, 1 left out: 1 .pdf)" in Text(seed=0, seqlen=8, path=tmp_path).describe()


def test_encodings_and_bad_files(tmp_path: Path):
    (tmp_path / "latin.txt").write_bytes(("né" * 60).encode("latin-1"))
    task = Text(seed=0, seqlen=8, path=tmp_path, encoding="latin-1")
    assert "né" in task.codec.decode(task.train_batch(range(1)).inputs[0])
    (tmp_path / "zeros.txt").write_bytes(b"a\0\0\0" * 40)
    with pytest.raises(UserError, match=r"1 of 2 files cannot be used; task.on_bad_file=skip"):
        Text(seed=0, seqlen=8, path=tmp_path).train_batch(range(1))
    assert Text(seed=0, seqlen=8, path=tmp_path, on_bad_file="skip").streams["train"]


@pytest.fixture
def byte_pairs(tmp_path: Path, monkeypatch) -> Text:
    pytest.importorskip("tokenizers")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("".join(sentences(300)))
    return Text(seed=0, seqlen=8, path=tmp_path / "text", tokenizer="bpe", vocab_size=300)


def test_byte_pairs_come_back_as_text_and_count_its_bytes(byte_pairs: Text):
    stream = byte_pairs.streams["test"][0]
    text = byte_pairs.codec.decode(stream)
    assert "words in it, and ends.\n" in text
    units = byte_pairs.token_units
    assert units is not None
    assert units[stream].sum() == len(text.encode())
    assert len(stream) < len(text) / 2
    which = byte_pairs.eval_sets("test")[0]
    unigram, *_ = byte_pairs.baselines(which)
    assert unigram.value < 4  # bits a byte, not a token


def test_a_prepared_folder_is_read_memory_mapped(tmp_path: Path, rows):
    for number, text in enumerate(sentences(20)):
        (tmp_path / f"{number:02}.txt").write_text(text)
    prepare_corpus(sorted(tmp_path.glob("*.txt")), tmp_path / "tokens", CorpusOptions())
    raw = Text(seed=0, seqlen=8, path=tmp_path)
    prepared = Text(seed=0, seqlen=8, path=tmp_path / "tokens")
    assert prepared.fingerprint() == raw.fingerprint()
    np.testing.assert_array_equal(rows(raw, "train", 3, 9).inputs, rows(prepared, "train", 3, 9).inputs)
    with pytest.raises(UserError, match=r"leave task\.tokenizer out"):
        Text(seed=0, path=tmp_path / "tokens", tokenizer="bpe")


def test_a_large_corpus_is_tokenised_once_into_the_cache(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("".join(sentences(300)))
    small = Text(seed=0, seqlen=8, path=tmp_path / "a.txt")
    monkeypatch.setattr(documents, "LARGE", 10)
    large = Text(seed=0, seqlen=8, path=tmp_path / "a.txt")
    assert large.fingerprint() == small.fingerprint()
    assert isinstance(large.streams["train"][0].base.base, np.memmap)


def test_packed_documents_keep_to_themselves(tmp_path: Path):
    write_lines(tmp_path / "a.jsonl", sentences(40))
    task = Text(seed=0, seqlen=100, path=tmp_path, packed=True)
    batch = task.train_batch(range(4))
    assert batch.inputs.shape == (1, 400)
    assert batch.cu_seqlens is not None
    assert batch.cu_seqlens[0] == 0
    assert batch.cu_seqlens[-1] == 400
    spans = list(itertools.pairwise(batch.cu_seqlens.tolist()))
    assert len(spans) > 4
    for start, end in spans:
        inputs, targets = batch.inputs[0, start:end], batch.targets[0, start:end]
        np.testing.assert_array_equal(inputs[1:], targets[:-1])
        text = bytes(inputs.tolist())
        assert b"\n" not in text[:-1]  # documents end with their only newline
        assert (targets[-1] == IGNORE) == text.endswith(b"\n")
    which = task.eval_sets("test")[0]
    scored = task.eval_batch(which, range(which.rows))
    assert scored.counted() == sum(len(stream) - 1 for stream in task.streams["test"])

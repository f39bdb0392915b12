from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
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

"""What a path would become: records, splits and pictures of tiny files, worked out by hand."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.inspection import Inspection, Kind, decode, guess_kind, inspect_path, picture
from seqsuite.tasks.sources.files import Found

from ..music import RATE, piece


def save(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


def shown(found: Inspection) -> list[tuple[str, int, str]]:
    return [(record.name, record.length, decode(found.kind, record.head)) for record in found.records]


def test_text_is_a_record_a_file(tmp_path: Path) -> None:
    long = save(tmp_path, "a.txt", "ab" * 40)
    short = save(tmp_path, "b.txt", "aé")
    found = inspect_path(tmp_path)
    assert found.kind == "text"
    assert shown(found) == [(str(long), 80, "ab" * 32), (str(short), 3, "aé")]
    assert [found.counts[byte] for byte in b"ab\xc3\xa9c"] == [41, 40, 1, 1, 0]
    assert len(found.counts) == 256
    assert found.records[1].digest == hashlib.blake2b("aé".encode(), digest_size=16).hexdigest()
    assert found.duplicates() == []
    assert (
        found.split_rule()
        == "each cut in order, the first 80 % train, the next 10 % validation, the rest test"
    )
    assert found.split_sizes() == {"train": (2, 66), "validation": (1, 8), "test": (2, 9)}


def test_lines_of_json_are_a_record_each(tmp_path: Path) -> None:
    texts = [*"abcdefgh", "valid", "te", "last", "te", ""]
    lines = save(tmp_path, "a.jsonl", "\n".join(json.dumps({"body": text}) for text in texts))
    found = inspect_path(lines, field="body")
    assert shown(found)[0] == (f"{lines}#000000000", 1, "a")
    assert shown(found)[-1] == (f"{lines}#000000011", 2, "te")
    assert found.duplicates() == [[f"{lines}#000000009", f"{lines}#000000011"]]
    assert found.split_rule().startswith("held out whole")
    assert found.split_sizes() == {"train": (10, 14), "validation": (1, 5), "test": (1, 2)}
    nine = inspect_path(save(tmp_path, "b.jsonl", '{"text": "abcde"}\n' * 9))
    assert nine.split_rule().startswith("each cut in order")
    assert nine.split_sizes() == {"train": (9, 36), "validation": (0, 0), "test": (9, 9)}


def test_names_of_files_say_the_split(tmp_path: Path) -> None:
    for name, content in (("train", "abc"), ("valid", "de"), ("test", "f"), ("test2", "g")):
        save(tmp_path, f"x.{name}.txt", content)
    found = inspect_path(tmp_path)
    assert found.split_rule() == "as the files' names say"
    assert found.split_sizes() == {"train": (1, 3), "validation": (1, 2), "test": (2, 2)}


def test_dna_is_a_record_a_name(tmp_path: Path) -> None:
    file = save(tmp_path, "a.fa", ">one\nACGTN-\nAC\n>none\n>two\n" + "A" * 100 + "\n")
    found = inspect_path(file)
    assert shown(found) == [
        (f"{file} one", 8, "ACGTN-AC"),
        (f"{file} none", 0, ""),
        (f"{file} two", 100, "A" * 64),
    ]
    assert found.counts[:7].tolist() == [102, 2, 1, 1, 1, 1, 0]
    assert found.split_sizes() == {"train": (2, 86), "validation": (2, 11), "test": (2, 11)}
    assert picture(found) == "bases A 94.4% C 1.9% G 0.9% T 0.9% N 0.9% - 0.9%"
    many = inspect_path(save(tmp_path, "b.fa", "".join(f">{n}\nACGTACGTAC\n" for n in range(10))))
    assert many.split_rule().startswith("each cut in order")
    assert many.split_sizes() == {"train": (10, 80), "validation": (10, 10), "test": (10, 10)}
    assert len(many.duplicates()) == 1


def test_bad_files_are_told_beside_good_ones(tmp_path: Path) -> None:
    save(tmp_path, "a.txt", "good")
    save(tmp_path, "b.txt", b"PK\0\0\x03abc\0\0")
    found = inspect_path(tmp_path)
    assert [record.length for record in found.records] == [4]
    assert len(found.bad) == 1
    assert found.bad[0].endswith("is not plain text: it has zero bytes in it.")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UserError, match="zero bytes"):
        inspect_path(tmp_path)


def made(kind: Kind, counts: dict[int, int]) -> Inspection:
    every = np.zeros(256, dtype=np.int64)
    every[list(counts)] = list(counts.values())
    return Inspection(kind, Found(()), (), every, ())


def test_pictures_are_of_64_blocks() -> None:
    counts = {0: 1, 3: 1, 4: 64, 9: 128, 13: 32, 250: 50, 252: 51, 255: 21}
    heights = {0: "▁", 1: "▆", 2: "█", 3: "▄", 62: "▅", 63: "▆"}
    line = "".join(heights.get(place, " ") for place in range(64))
    assert picture(made("text", counts)) == f"bytes 0-255 |{line}|"
    assert picture(made("piano", counts)) == f"mu-law codes 0-255 |{line}|"
    assert picture(made("sc09", {})) == f"mu-law codes 0-255 |{' ' * 64}|"
    assert picture(made("dna", {})) == "bases A 0.0% C 0.0% G 0.0% T 0.0% N 0.0% - 0.0%"
    assert picture(made("dna", {0: 1})) == "bases A 100.0% C 0.0% G 0.0% T 0.0% N 0.0% - 0.0%"


def test_audio_reads_as_its_first_sixteen_codes() -> None:
    codes = np.arange(100, 200, dtype=np.uint8)
    for kind in ("piano", "sc09"):
        assert decode(kind, codes) == " ".join(str(code) for code in range(100, 116))
    assert decode("text", np.frombuffer(b"a\xff", np.uint8)) == "a\ufffd"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a", b">x\nACGT\n", "dna"),
        ("a", b"\xef\xbb\xbf\n \n;c\n#d\n >x\nACGT\n", "dna"),
        ("a.fa", b"ACGT\n>x\n", "text"),
        ("a", b"", "text"),
        ("a", b"fLaC", "piano"),
        ("a.WAV", b"nothing", "piano"),
    ],
)
def test_the_first_bytes_tell_the_task(tmp_path: Path, name: str, content: bytes, kind: Kind) -> None:
    assert guess_kind(save(tmp_path, name, content)) == kind


def test_most_files_of_a_folder_tell_the_task(tmp_path: Path) -> None:
    for names, kind in (
        (("a.txt", "a.fa"), "text"),
        (("b.fa",), "dna"),
        (("a.wav", "b.wav", "c.wav"), "piano"),
    ):
        for name in names:
            save(tmp_path, name, "x")
        assert guess_kind(tmp_path) == kind


def test_recordings_of_two_splits_that_share_a_passage_are_named(tmp_path: Path) -> None:
    """Of ten recordings the ninth is validation; of fewer, each is cut in itself."""
    source = piece(0)
    for number in range(10):
        wave = source if number in (3, 8) else np.zeros(1000, dtype=np.float32)
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE)
    found = inspect_path(tmp_path)
    assert found.kind == "piano"
    (passage,) = found.passages
    assert (Path(passage.first).name, Path(passage.second).name) == ("3.wav", "8.wav")
    assert passage.first_start == passage.second_start
    assert found.split_sizes() == {"train": (8, 327_000), "validation": (1, 320_000), "test": (1, 1_000)}
    (tmp_path / "5.wav").unlink()
    again = inspect_path(tmp_path)
    assert again.passages == ()
    assert again.split_sizes()["train"] == (9, 517_600)

import bz2
import gzip
import lzma
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.tasks.sources import compression
from seqsuite.tasks.sources.fasta import ALPHABET, encode, iterate_fasta, read_chunks, read_fasta

PLAIN = b">one first\nACGT\nacgtn\n>two\nTT-GG\n"


def letters(file: Path, **options: float) -> dict[str, str]:
    shown = ALPHABET + "-"
    return {name: "".join(shown[code] for code in record) for name, record in iterate_fasta(file, **options)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.fa", PLAIN),
        ("bom.fa", b"\xef\xbb\xbf" + PLAIN),
        ("blank.fa", b"\n \n\r\n" + PLAIN),
        ("hash.fa", b"# made by a tool\n" + PLAIN),
        ("semicolon.fa", b"; old style\n" + PLAIN.replace(b"\n>two", b"\n;note\n# more\n>two")),
        ("crlf.fa", PLAIN.replace(b"\n", b"\r\n")),
        ("cr.fa", PLAIN.replace(b"\n", b"\r")),
        ("no_newline.fa", PLAIN.rstrip()),
        ("gz_named.fa", gzip.compress(PLAIN, mtime=0)),
        ("plain_named.fa.gz", PLAIN),
        ("bgzf_like.fa.bgz", gzip.compress(PLAIN[:9], mtime=0) + gzip.compress(PLAIN[9:], mtime=0)),
        ("a.fa.bz2", bz2.compress(PLAIN)),
        ("a.fa.xz", lzma.compress(PLAIN)),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_what_a_file_is_follows_from_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, block: int
) -> None:
    monkeypatch.setattr(compression, "BLOCK_SIZE", max(block, 3 if "bom" in name else 1))
    (tmp_path / name).write_bytes(content)
    assert letters(tmp_path / name) == {"one first": "ACGTACGTN", "two": "TT-GG"}


def test_tabs_and_a_final_stop_are_dropped_with_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.fa").write_bytes(b">a\nAC\tGT*\n>b\nAA CC\n")
    assert letters(tmp_path / "a.fa") == {"a": "ACGT", "b": "AACC"}
    assert "spaces or tabs" in caplog.text
    assert "'*' at the end of 1 record is" in caplog.text


@pytest.mark.parametrize("content", [b">a\nAC*GT\n", b">a\nACGT*\nAC\n"])
def test_a_stop_within_a_record_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fa").write_bytes(content)
    with pytest.raises(UserError, match=r"'a' of .* is not DNA: it has the letter '\*' at"):
        read_fasta(tmp_path / "a.fa")


def test_a_protein_of_letters_that_dna_has_is_refused_unless_told(tmp_path: Path) -> None:
    (tmp_path / "p.fa").write_bytes(b">p\nMKVSDRRRKHWGADTYSVKRMMDA\n")
    with pytest.raises(UserError, match=r"not taken for DNA: 83 % of its letters .* protein"):
        read_fasta(tmp_path / "p.fa")
    (record,) = read_fasta(tmp_path / "p.fa", max_ambiguous=1)
    assert (record == 4).sum() == 20


def test_many_n_are_dna(tmp_path: Path) -> None:
    (tmp_path / "n.fa").write_bytes(b">gap\n" + b"N" * 1000 + b"\nACGTRACGT\n")
    assert len(read_fasta(tmp_path / "n.fa")[0]) == 1009


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe>\x00a\x00", "UTF-16 text"),
        (b"; only\n# comments\n", "does not begin with '>'"),
        (b"ACGT\n>a\nACGT\n", "does not begin with '>'"),
        (gzip.compress(PLAIN, mtime=0)[:-9], "cannot be read as FASTA"),
        (b"\x1f\x8b" + bytes(range(200)), "cannot be read as FASTA"),
        (bz2.compress(PLAIN)[:-9], "cannot be read as FASTA"),
        (b">a\nAC>GT\n", "has the letter '>' at 3"),
        (b">a\nACGT\nACE\n", "has the letter 'E' at 7"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.fa").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_fasta(tmp_path / "a.fa")


def test_the_place_of_a_wrong_letter_counts_over_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK_SIZE", 5)
    (tmp_path / "a.fa").write_bytes(b">a\nACGT\nACGT\nAEC\n")
    with pytest.raises(UserError, match="has the letter 'E' at 10"):
        read_fasta(tmp_path / "a.fa")


def test_a_base_costs_a_byte(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(
        b">a\n" + b"ACGT" * 15 * 200_000 + b"\n>b\n" + (b"ACGTN" * 12 + b"\n") * 100_000
    )
    read_fasta(tmp_path / "a.fa")
    tracemalloc.start()
    records = read_fasta(tmp_path / "a.fa")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    bases = sum(len(record) for record in records)
    assert bases == 18_000_000
    assert peak < 1.15 * bases + (12 << 20)


def test_chunks_are_bounded_whatever_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">" + b"n" * 3_000_000 + b"\n" + b"ACGT" * 1_000_000)
    chunks = list(read_chunks(tmp_path / "a.fa"))
    assert max(len(chunk.codes) for chunk in chunks) <= compression.BLOCK_SIZE
    assert sum(len(chunk.codes) for chunk in chunks) == 4_000_000
    assert len(chunks[0].name) <= 200


def test_a_bomb_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "FREE_EXPANSION", 1 << 20)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 100)
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">a\n" + b"A" * (8 << 20)))
    with pytest.raises(UserError, match=r"left alone: its .* bytes of gzip expand to more than"):
        read_fasta(tmp_path / "a.fa.gz")


@settings(deadline=None, max_examples=100)
@given(st.text("ACGTNacgtnuUrYkM-.", min_size=1, max_size=200), st.integers(1, 70))
def test_encoding_is_the_same_from_letters_and_from_files(
    tmp_path_factory: pytest.TempPathFactory, sequence: str, width: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "property.fa"
    lines = [sequence[start : start + width] for start in range(0, len(sequence), width)]
    file.write_text(">a\n" + "\n".join(lines) + "\n")
    ((_, record),) = iterate_fasta(file, max_ambiguous=1)
    np.testing.assert_array_equal(record, encode(sequence, "here"))
    known = "".join((ALPHABET + "-")[code] for code in record)
    expected = sequence.upper().translate(str.maketrans("URYKM.", "TNNNN-"))
    assert known == expected

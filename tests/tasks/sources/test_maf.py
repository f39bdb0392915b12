import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources import maf
from seqsuite.tasks.sources.fasta import ALPHABET
from seqsuite.tasks.sources.maf import (
    GREAT_APES,
    aligned_stretches,
    example_alignment,
    read_maf,
    species_in,
    split_blocks,
)

BLOCKS = """##maf version=1 program=test
#
a score=3
s Hsap.22   10 6 + 100 ACGTac-
s Ptro.22a  20 7 - 90  ACNTACG

a
s Hsap.22   16 2 + 100 RY
"""


def letters(codes: Iterable[int]) -> str:
    return "".join((ALPHABET + "-")[code] for code in codes)


@pytest.mark.parametrize("pack", [False, True])
def test_blocks_are_species_chromosome_and_aligned_bases(tmp_path: Path, pack: bool) -> None:
    content = BLOCKS.encode()
    (tmp_path / "a.maf").write_bytes(gzip.compress(content) if pack else content)
    first, second = read_maf(tmp_path / "a.maf")
    assert [(row.species, row.chrom, row.start, row.strand, letters(row.codes)) for row in first] == [
        ("Hsap", "22", 10, 1, "ACGTAC-"),
        ("Ptro", "22a", 20, -1, "ACNTACG"),
    ]
    assert letters(second[0].codes) == "NN"
    assert GREAT_APES[first[1].species] == "chimpanzee"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "does not begin with '##maf'"),
        (">a\nACGT\n", "does not begin with '##maf'"),
        (BLOCKS.replace("ACGTac-", "ACGTac"), "cannot be read as MAF"),
        (BLOCKS.replace("+ 100 RY", "+ x RY"), "cannot be read as MAF"),
        (BLOCKS.replace("RY", "EF"), "Row 'Hsap.22' of .* is not DNA"),
        (BLOCKS.replace("RY", "A*"), "Row 'Hsap.22' of .* is not DNA"),
    ],
)
def test_bad_alignments_are_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.maf").write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_maf(tmp_path / "a.maf"))


def test_whole_blocks_are_held_out_by_their_columns() -> None:
    splits = split_blocks([10] * 100)
    assert splits == ["train"] * 80 + ["validation"] * 10 + ["test"] * 10
    assert split_blocks([900, 50, 50]) == ["train", "test", "test"]
    assert split_blocks([]) == []


def test_the_example_is_found_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maf, "EXAMPLE", tmp_path)
    assert example_alignment() is None
    (tmp_path / "apes.maf.gz").write_bytes(gzip.compress(BLOCKS.encode()))
    found = example_alignment()
    assert found is not None
    assert len(list(read_maf(found))) == 2


def test_blocks_are_held_out_by_where_their_middles_lie() -> None:
    assert split_blocks([1] * 10) == ["train"] * 8 + ["validation", "test"]
    assert split_blocks([10] * 5) == ["train"] * 4 + ["test"]  # the last one's middle is at nine tenths
    assert split_blocks([16, 2, 2]) == ["train", "validation", "test"]
    assert split_blocks([15, 2, 3]) == ["train", "validation", "test"]
    assert split_blocks([14, 3, 3]) == ["train", "train", "test"]
    assert split_blocks([0, 0]) == ["train", "train"]
    assert split_blocks([]) == []


def test_blocks_near_one_another_make_one_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert maf.MAX_GAP == 1_000
    monkeypatch.setattr(maf, "MAX_GAP", 2)
    rows = [
        ("22", 0, "+", "AC-GT", "AAAAA"),
        ("22", 6, "+", "CC", "--"),  # two bases are between: N
        ("22", 11, "+", "GG", "TT"),  # three: another stretch
        ("22", 13, "+", "TT", "GG"),
        ("22", 14, "+", "A", "A"),  # overlaps
        ("21", 15, "+", "C", "C"),
        ("21", 16, "-", "G", "G"),
        ("9", 0, "+", "T" * 30, "T" * 30),
    ]
    blocks = "".join(
        f"a\ns Hsap.{chrom} {start} {len(one.replace('-', ''))} {strand} 90 {one}\n"
        f"s other.1 5 {len(two.replace('-', ''))} + 90 {two}\n\n"
        for chrom, start, strand, one, two in rows
    )
    (tmp_path / "a.maf").write_text(f"##maf version=1\n{blocks}")
    found = aligned_stretches(tmp_path / "a.maf")
    shown = {species: [letters(part) for part in parts] for species, parts in found["train"].items()}
    assert shown == {
        "human": ["ACGTNNCC", "GGTT", "A", "C", "G", "T" * 30],
        "other": ["AAAAANN", "TTGG", "A", "C", "G", "T" * 30],
    }
    assert found["validation"] == found["test"] == {"human": [], "other": []}
    assert species_in(tmp_path / "a.maf") == ("human", "other")

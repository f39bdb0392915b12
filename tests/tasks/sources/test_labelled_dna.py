"""Layouts of labelled sequences, and what their tables and archives must have."""

import zipfile
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources import labelled_dna
from seqsuite.tasks.sources.labelled_dna import find_labelled


def lay(folder: Path, **files: str) -> Path:
    """Write files; two underscores in a name are a slash, one is a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def pack(file: Path, *members: tuple[str, str]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file


def letters(path: Path, genome: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    found = find_labelled(path, genome).read()
    return {
        split: [("".join("ACGTN"[base] for base in one.bases), one.label) for one in several]
        for split, several in found.items()
    }


def refusal(path: Path, genome: Path | None = None) -> str:
    with pytest.raises(UserError) as error:
        letters(path, genome)
    return str(error.value)


TEST = {"test__a_txt": "A", "test__b_txt": "C"}


def test_splits_have_several_names_and_classes_their_order(tmp_path: Path) -> None:
    for name in ("valid", "validation", "val", "dev"):
        folder = tmp_path / name
        lay(folder, train__10_txt="A C-\nG", train__9_txt="T", test__9_txt="A", test__10_txt="G")
        lay(folder, **{f"{name}__9_txt": "GG"})
        assert find_labelled(folder).class_names == ("9", "10")
        assert letters(folder)["validation"] == [("GG", "9")]
        assert letters(folder)["train"] == [("ACG", "10"), ("T", "9")]
    lay(tmp_path / "x", train__a_txt="A", train__2_txt="A", test__a_txt="A", test__2_txt="A")
    assert find_labelled(tmp_path / "x").class_names == ("2", "a")
    lay(tmp_path / "y", train__a__b_c_txt="A", train__a__d_txt="C", train__b_x_fa=">1\nA\n")
    lay(tmp_path / "y", test__a__1_txt="G", test__b_fa=">1\nAC\n>2\nT-\n")
    assert letters(tmp_path / "y") == {
        "train": [("A", "a"), ("C", "a"), ("A", "b")],
        "test": [("G", "a"), ("AC", "b"), ("T", "b")],
    }


def test_the_folder_around_the_only_one_will_do(tmp_path: Path) -> None:
    lay(tmp_path / "in" / "one", train__a_txt="A", train__b_txt="C", **TEST)
    assert find_labelled(tmp_path / "in").path == tmp_path / "in" / "one"
    lay(tmp_path / "in" / "two", train__a_txt="A", train__b_txt="C", **TEST)
    assert "has no train sequences" in refusal(tmp_path / "in")
    assert "There is no file or folder" in refusal(tmp_path / "none")


def test_tables_have_a_sequence_and_a_label_in_each_row(tmp_path: Path) -> None:
    good = "id,seq,sequence,label\n1, AC-G,T,x\n2,TT,A,y\n"
    lay(tmp_path / "a", train_csv=good, test_csv="sequence,label\nGG,y\nA,x\n")
    lay(tmp_path / "a", other_csv=good)
    assert letters(tmp_path / "a") == {
        "train": [("ACG", "x"), ("TT", "y")],
        "test": [("GG", "y"), ("A", "x")],
    }
    lay(tmp_path / "b", train_csv='seq,label\nA,1\n"",\n', test_csv="seq,label\nA,0\n")
    assert refusal(tmp_path / "b").startswith("Row 2 of ")
    lay(tmp_path / "c", train_csv="seq,label\nA,1\nA,0\nAEA,1\n", test_csv="seq,label\nA,0\n")
    assert "train.csv#3" in refusal(tmp_path / "c")
    assert "at 2" in refusal(tmp_path / "c")
    lay(tmp_path / "d", train_csv="seq,label\nA,1\n", test_csv="seq,label\nA,1\n")
    assert "has one class only" in refusal(tmp_path / "d")
    lay(tmp_path / "e", train_csv="seq,lab\nA,1\n", test_csv="seq,label\nA,1\nA,2\n")
    assert "should have the columns seq or sequence, and label; it has 'seq', 'lab'." in refusal(
        tmp_path / "e"
    )


def test_a_name_with_a_line_break_in_it_is_one_sentence_all_the_same(tmp_path: Path) -> None:
    """As a damaged archive or table has it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for place in ("train/a", "train/b\nc", "test/a"):
            packed.writestr(f"set/{place}/1.txt", "ACGT")
    assert r"'b\nc' is a class of one split only" in refusal(tmp_path / "a.zip")
    lay(tmp_path / "b", train_csv='seq,"la\nbel"\nA,1\n', test_csv="seq,label\nA,1\nA,2\n")
    assert r"it has 'seq', 'la\nbel'." in refusal(tmp_path / "b")


@pytest.fixture
def genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "genome.fa").write_text(">1\nACGTACGTAA\n>chr2\nCCCCC\n>MT\nGGG\n>T7.3\nTTTT\n")
    return tmp_path / "genome.fa"


def intervals(folder: Path, row: str) -> Path:
    head = "region,start,end,strand\n"
    return lay(
        folder,
        train__a_csv=head + row,
        train__b_csv=head + "1,0,1,+",
        test__a_csv=head + row,
        test__b_csv=head + row,
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("chr1,0,4,+", "ACGT"),
        ("1,6,10,-", "TTAC"),
        ("2,0,5,+", "CCCCC"),
        ("chrM,1,3,+", "GG"),
        ("T7,0,4,-", "AAAA"),
        ("1,9,10,+", "A"),
    ],
)
def test_intervals_are_read_from_either_strand(tmp_path: Path, genome: Path, row: str, expected: str) -> None:
    found = letters(intervals(tmp_path / "set", f"chr1,0,1,+\n{row}\n"), genome)
    assert found["test"][1] == (expected, "a")
    assert found["train"] == [("A", "a"), (expected, "a"), ("A", "b")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,4,4,+", "is no interval."),
        ("1,-1,4,+", "is no interval."),
        ("1,0.5,4,+", "is no interval."),
        ("1,0,4.5,+", "is no interval."),
        ("1,0,4,x", "is no interval."),
        ("1,0,11,+", "ends behind 1: another genome is meant."),
        ("3,0,1,+", "names 3, which the genome does not have."),
    ],
)
def test_what_is_no_interval_is_named_by_its_row(tmp_path: Path, genome: Path, row: str, said: str) -> None:
    text = refusal(intervals(tmp_path / "set", f"1,0,1,+\n{row}\n"), genome)
    assert text.startswith("Row 1 of " if "." in row else "Row 2 of ")  # a column is of one type
    assert text.endswith(said)


def test_a_folder_of_genomes_has_one_for_each_class(tmp_path: Path, genome: Path) -> None:
    where = intervals(tmp_path / "set", "1,0,2,+\n")
    several = lay(tmp_path / "genomes", a_fa=">1\nGG\n", b_x_fa=">1\nTT\n", c_fa=">1\nCC\n")
    assert letters(where, several)["test"] == [("GG", "a"), ("TT", "b")]
    lay(several, b_fa=">1\nTT\n")
    assert "should have one FASTA called 'b'" in refusal(where, several)
    lay(where, train__a_csv="region,start,strand\n1,0,+\n")
    assert "has no column 'end'" in refusal(where, genome)


def test_archives_have_a_folder_a_class(tmp_path: Path) -> None:
    members = [
        ("deep/er/train/a/1.txt", "AC GT"),
        ("deep/er/train/b/x/2.txt", "A"),
        ("test/a/0.txt", "C"),
        ("test/b/train/3.txt", "G"),
        ("test/b/.hidden.txt", "T"),
        ("__MACOSX/test/b/1.txt", "T"),
        ("test/a/1.csv", "T"),
        ("x/test/a.txt", "T"),
        ("other/a/1.txt", "T"),
    ]
    assert letters(pack(tmp_path / "a.zip", *members)) == {
        "train": [("ACGT", "a"), ("A", "b")],
        "test": [("C", "a"), ("G", "b")],
    }


def test_archives_are_left_alone_where_they_expand_too_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pack(
        tmp_path / "a.zip",
        *((f"{split}/{label}/1.txt", "A" * 10) for split in ("train", "test") for label in "ab"),
    )
    monkeypatch.setattr(labelled_dna, "MAX_EXPANSION", 0)
    monkeypatch.setattr(labelled_dna, "FREE_EXPANSION", 40)
    assert len(letters(file)["train"]) == 2
    monkeypatch.setattr(labelled_dna, "FREE_EXPANSION", 39)
    assert "is left alone: it expands to over 40 bytes." in refusal(file)


def test_a_member_has_16_mib_at_most(tmp_path: Path) -> None:
    others = [("train/b/1.txt", "A"), ("test/a/1.txt", "A"), ("test/b/1.txt", "A")]
    long = pack(tmp_path / "a.zip", ("train/a/1.txt", "A" * (2**24 + 1)), *others)
    assert "train/a/1.txt is no sequence: it has over 16777216 bytes." in refusal(long)

"""The class of DNA: every layout gives the same rows, splits are clean, and bad layouts are one sentence."""

import gzip
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.tasks.base import Baseline
from seqsuite.tasks.dna_classification import DNAClassification
from seqsuite.tasks.sources.fasta import encode, reverse_complement

MOTIF = "TATAAAAG"
PARTS = {"train": 60, "test": 12}


def planted(rng: np.random.Generator, label: str, count: int) -> list[str]:
    """Random sequences of 40 to 60 bases, which have the motif somewhere where the label is ``positive``."""
    made = []
    for _ in range(count):
        letters = "".join(rng.choice(list("ACGT"), rng.integers(40, 61)))
        place = rng.integers(0, len(letters) - len(MOTIF))
        middle = MOTIF if label == "positive" else letters[place : place + len(MOTIF)]
        made.append(letters[:place] + middle + letters[place + len(MOTIF) :])
    return made


@pytest.fixture(scope="module")
def sequences() -> dict[str, dict[str, list[str]]]:
    rng = np.random.default_rng(0)
    return {
        split: {label: planted(rng, label, count) for label in ("negative", "positive")}
        for split, count in PARTS.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sequences: dict[str, dict[str, list[str]]]) -> Path:
    """The published layout: a text file a sequence, in a folder a class, in a folder a split."""
    root = tmp_path_factory.mktemp("benchmarks") / "human_planted"
    for split, classes in sequences.items():
        for label, several in classes.items():
            (root / split / label).mkdir(parents=True)
            for number, letters in enumerate(several):
                (root / split / label / f"{number:03d}.txt").write_text(letters)
    return root


def task(path: Path, **options: Any) -> DNAClassification:
    return DNAClassification(seed=0, seqlen=64, path=path, **options)


def whole(one: DNAClassification) -> list[tuple[str, int]]:
    """All test rows as letters and class."""
    which = one.eval_sets("test")[0]
    batch = one.eval_batch(which, range(which.rows))
    lengths = np.full(which.rows, batch.inputs.shape[1]) if batch.lengths is None else batch.lengths
    return [
        ("".join("ACGTN"[base] for base in row[:length]), int(label))
        for row, length, label in zip(batch.inputs, lengths, batch.targets, strict=True)
    ]


def test_every_published_layout_gives_the_same_rows(
    folder: Path, sequences: dict[str, dict[str, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = whole(task(folder))
    assert sorted(expected) == sorted(
        (letters, int(label == "positive"))
        for label, several in sequences["test"].items()
        for letters in several
    )
    archive = shutil.make_archive(str(tmp_path / "planted"), "zip", folder.parent, folder.name)
    assert whole(task(Path(archive))) == expected
    assert whole(task(folder.parent)) == expected  # the folder around it

    fasta, intervals, tables = tmp_path / "fasta", tmp_path / "intervals", tmp_path / "tables"
    genome: dict[str, list[str]] = {"1": [], "ENST7.2": []}
    tables.mkdir()
    for split, classes in sequences.items():
        rows = ["sequence,label"]
        for label, several in classes.items():
            for root in (fasta, intervals):
                (root / split).mkdir(parents=True, exist_ok=True)
            records = "".join(f">{number}\n{letters}\n" for number, letters in enumerate(several))
            (fasta / split / f"{label}.fa").write_text(records)
            table = ["id,region,start,end,strand"]
            for number, letters in enumerate(several):
                record, region = ("1", "chr1") if number % 2 else ("ENST7.2", "ENST7")
                start = sum(map(len, genome[record]))
                other = "".join("ACGT"[base] for base in reverse_complement(encode(letters, "")))
                genome[record].append(other if number % 3 == 0 else letters)
                table.append(
                    f"{number},{region},{start},{start + len(letters)},{'-' if number % 3 == 0 else '+'}"
                )
                rows.append(f"{letters},{label}")
            packed = gzip.compress("\n".join(table).encode())
            (intervals / split / f"{label}.csv.gz").write_bytes(packed)
        (tables / f"{split}.csv").write_text("\n".join(rows))
    written = "".join(f">{name} a record\n{''.join(parts)}\n" for name, parts in genome.items())
    (tmp_path / "genome.fa.gz").write_bytes(gzip.compress(written.encode()))
    assert whole(task(fasta)) == expected
    assert whole(task(intervals, genome=tmp_path / "genome.fa.gz")) == expected
    assert whole(task(tables)) == expected
    with pytest.raises(UserError, match=r"give the FASTA they are of by task.genome=FILE"):
        whole(task(intervals))
    own = tmp_path / "references"
    own.mkdir()
    for label in ("negative", "positive"):
        shutil.copy(tmp_path / "genome.fa.gz", own / f"{label}.fa.gz")
    assert whole(task(intervals, genome=own)) == expected


def test_parquet_with_numbers_for_labels(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    for split in ("train", "test", "validation"):
        rows = {"seq": ["ACGT" * 5, "GGNN", "TT"] * 20, "label": [10, 9, 2] * 20}
        pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / f"{split}-00000-of-00001.parquet")
    one = task(tmp_path)
    assert one.class_names == ("2", "9", "10")
    assert whole(one)[:2] == [("ACGT" * 5, 2), ("GGNN", 1)]
    assert [which.rows for which in one.eval_sets("validation")] == [60]


def test_splits_share_nothing_and_rows_are_pure(folder: Path) -> None:
    one, other = task(folder), task(folder)
    splits = {
        split: {row.tobytes() for row in one.eval_batch(which, range(which.rows)).inputs}
        for split in ("validation", "test")
        for which in one.eval_sets(split)[:1]
    }
    strands = DNAClassification(seed=0, seqlen=64, path=folder, reverse_complement=False)
    drawn = strands.train_batch(range(2000))
    width = drawn.inputs.shape[1]
    trained = {np.trim_zeros(row, "b").tobytes() for row in drawn.inputs}
    held_out = {np.trim_zeros(np.frombuffer(row), "b").tobytes() for row in splits["validation"]}
    assert width <= 64
    assert len(splits["validation"]) > 3
    assert not trained & held_out
    assert abs(drawn.targets.mean() - 0.5) < 0.06
    np.testing.assert_array_equal(
        one.train_batch(range(5, 8)).targets, other.train_batch(range(8)).targets[5:]
    )
    assert one.fingerprint() == other.fingerprint() != DNAClassification(seed=0).fingerprint()


def test_equal_training_sequences_are_on_one_side(folder: Path, tmp_path: Path, caplog) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for file in sorted((copy / "train").rglob("*.txt")):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    shutil.copy(copy / "train" / "positive" / "000.txt", copy / "test" / "positive" / "again.txt")
    one, twice = task(folder), task(copy)
    count = one.eval_sets("validation")[0].rows
    with caplog.at_level(logging.INFO, logger="seqsuite"):
        assert twice.eval_sets("validation")[0].rows == 2 * count
    assert "1 of 25 test sequences are in training or validation too" in caplog.text


def test_longer_sequences_are_read_in_their_middle(tmp_path: Path, caplog) -> None:
    for split in PARTS:
        for label in ("a", "b"):
            (tmp_path / split).mkdir(exist_ok=True)
            records = "".join(f">{n}\n{'A' * n}{'C' * 10}{'G' * n}\n" for n in range(20, 60))
            (tmp_path / split / f"{label}.fa").write_text(records)
    one = DNAClassification(seed=0, seqlen=10, path=tmp_path)
    with caplog.at_level(logging.INFO, logger="seqsuite"):
        assert {letters for letters, _ in whole(one)} == {"C" * 10}
    everything = "160 of 160 sequences have more than task.seqlen=10 bases: of them the middle is read"
    assert everything in caplog.text


def test_the_middle_of_an_odd_rest_and_of_as_many_bases_as_are_read(tmp_path: Path, caplog) -> None:
    """Of ten bases all are read, of 13 the first is left out and the last two."""
    texts = {"a": "ACGTACGTAC", "b": "A" + "CGTACGTACG" + "TT"}
    for split in ("train", "validation", "test"):
        (tmp_path / split).mkdir()
        for label, letters in texts.items():
            (tmp_path / split / f"{label}.fa").write_text(f">1\n{letters}\n")
    one = DNAClassification(seed=0, seqlen=10, path=tmp_path)
    with caplog.at_level(logging.INFO, logger="seqsuite"):
        assert whole(one) == [("ACGTACGTAC", 0), ("CGTACGTACG", 1)]
    assert "3 of 6 sequences have more than task.seqlen=10 bases" in caplog.text
    assert "2 of 2 test sequences are in training or validation too" in caplog.text
    assert one.fingerprint() == "def79fd9fa857e5a"


def test_accuracy_is_told_by_class_and_scoring_can_be_capped(folder: Path) -> None:
    sets = {which.name: which for which in task(folder, eval_examples=10).eval_sets("test")}
    assert {name: which.rows for name, which in sets.items()} == {
        "all": 10,
        "class_negative": 5,
        "class_positive": 5,
    }
    assert (task(folder).eval_batch(sets["class_positive"], range(5)).targets == 1).all()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/a.fa": ">1\nACGT\n"}, "has no test sequences"),
        ({"train/a.fa": ">1\nA\n", "test/a.fa": ">1\nA\n"}, "has one class only"),
        ({"train/a.fa": ">1\nA\n", "test/b.fa": ">1\nA\n"}, "'a', 'b' is a class of one split only"),
        ({"train.csv": "seq,label\nACGT,1\n", "test.csv": "dna,label\nACGT,0\n"}, "it has 'dna', 'label'"),
        ({"train.csv": "seq,label\nACGE,1\nA,0\n", "test.csv": "seq,label\nA,0\n"}, "it has the letter 'E'"),
        ({"train.parquet": "seq", "test.csv": "seq,label\nA,0\n"}, "cannot be read"),
        ({"train/a/1.txt": "AXE", "train/b/1.txt": "A", "test/a/1.txt": "A", "test/b/1.txt": "A"}, "not DNA"),
        ({"train.zip": "no archive"}, "has no train sequences"),
    ],
)
def test_a_wrong_layout_is_one_sentence(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        task(tmp_path).fingerprint()
    assert "\n" not in str(error.value)


def test_a_set_that_was_not_fetched_says_how_to_get_it(tmp_path: Path, monkeypatch, folder: Path) -> None:
    monkeypatch.setenv("SEQSUITE_DATA", str(tmp_path))
    with pytest.raises(UserError, match="run `seqsuite data fetch genomic_benchmarks`"):
        DNAClassification(seed=0, dataset="human_nontata_promoters")
    (tmp_path / "genomic_benchmarks").mkdir()
    shutil.make_archive(
        str(tmp_path / "genomic_benchmarks" / "human_nontata_promoters_v0"), "zip", folder.parent, folder.name
    )
    one = DNAClassification(seed=0, seqlen=64, dataset="human_nontata_promoters")
    assert whole(one) == whole(task(folder))
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="neither a folder nor a zip archive"):
        task(tmp_path / "broken.zip")


def test_the_default_data_is_trained_on_and_told_by_class(seqsuite: Callable[..., Result]) -> None:
    settings = (
        "task=dna_classification",
        "model=mamba",
        "scale=smoke",
        "train.steps=4",
        "train.eval_every=4",
    )
    trained = seqsuite("run", *settings)
    assert trained.exit_code == 0, trained.output
    assert "synthetic CpG islands" in trained.output
    shown = seqsuite("results")
    assert "class island" in shown.output
    assert "most frequent 50.00" in shown.output


def test_what_is_held_out_is_the_same_in_all_versions(tmp_path: Path) -> None:
    """A tenth of the training sequences, by what they are."""
    for split, count in (("train", 100), ("test", 1)):
        for label, letter in (("a", "A"), ("b", "C")):
            (tmp_path / split).mkdir(exist_ok=True)
            records = "".join(f">{n}\n{letter * n}\n" for n in range(1, count + 1))
            (tmp_path / split / f"{label}.fa").write_text(records)
    one = DNAClassification(seed=0, seqlen=100, path=tmp_path)
    (which,) = one.eval_sets("validation")
    batch = one.eval_batch(which, range(which.rows))
    lengths = [batch.lengths[batch.targets == number].tolist() for number in (0, 1)]
    assert lengths == [
        [*(1, 5, 7, 17, 21, 25, 33, 36, 40, 43, 55, 59, 70, 74, 93, 95, 96)],
        [*(14, 17, 27, 45, 56, 57, 71, 74, 79, 87, 100)],
    ]
    assert one.baselines(one.eval_sets("test")[0]) == (Baseline("most frequent", 50.0),)


def test_half_of_training_is_read_from_the_other_strand(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / split).mkdir()
        for label, letters in (("a", "AAAA"), ("b", "CCCC")):
            (tmp_path / split / f"{label}.fa").write_text(f">1\n{letters}\n")
    for strands, share in ((True, 0.5), (False, 0.0)):
        one = DNAClassification(seed=0, seqlen=8, path=tmp_path, reverse_complement=strands)
        batch = one.train_batch(range(400))
        assert set(zip(batch.inputs[:, 0].tolist(), batch.targets.tolist(), strict=True)) <= {
            *((0, 0), (3, 0), (1, 1), (2, 1))
        }
        assert abs((batch.inputs[:, 0] >= 2).mean() - share) < 0.1
        assert (one.eval_batch(one.eval_sets("test")[0], range(2)).inputs[:, 0] == [0, 1]).all()

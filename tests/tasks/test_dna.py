import gzip
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.dna import DNA
from seqsuite.tasks.sources.fasta import ALPHABET, GAP, load_samples, reverse_complement


@pytest.fixture(scope="module")
def samples() -> DNA:
    return DNA(seed=0)


def fasta(folder: Path, text: str, name: str = "a.fa") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def letters(parts: list[np.ndarray]) -> list[str]:
    return ["".join(ALPHABET[token] for token in part) for part in parts]


def test_default_data_is_mitochondrial_dna_and_an_alignment_of_55_mammals():
    records = load_samples()
    assert [len(record) for record in records] == [16569] + [3009] * 55
    mitochondrial = "".join(ALPHABET[token] for token in records[0])
    assert mitochondrial.startswith("GATCACAGGTCTATCACCCTATTAACCACTCACGGGAGCTCTCCATGCATTTGG")
    assert mitochondrial.count("N") == 1


def test_homologous_columns_are_never_in_two_splits(samples):
    # Each row's parts must be exactly the bases of columns 0-2406, 2407-2707 and 2708-3008.
    rows = load_samples()[1:]
    for split, columns in [
        ("train", slice(0, 2407)),
        ("validation", slice(2407, 2708)),
        ("test", slice(2708, None)),
    ]:
        expected = [row[columns] for row in rows]
        expected = [part[part != GAP] for part in expected]
        got = {part.tobytes() for part in samples.streams[split][1:]}
        assert got <= {part.tobytes() for part in expected}


def test_unigram_baseline_is_below_two_bits(samples):
    task_ = samples
    first, *_ = task_.baselines(task_.eval_sets("validation")[0])
    name, bits = first.name, first.value
    assert name == "unigram"
    assert 1.90 < bits < 2.0


def test_unknown_bases_are_read_but_never_scored(rows, samples):
    inputs, targets, *_ = rows(samples, "validation", 0, 512)
    assert (inputs == 4).any()
    assert set(np.unique(targets)) <= {IGNORE, 0, 1, 2, 3}


def test_letters_are_folded(tmp_path: Path):
    # The first 16 of 21 letters are the training split, the gap among them.
    task = DNA(seed=0, seqlen=4, path=fasta(tmp_path, ">r\nACGTacgtuURyNn\nA-CGTAC\n"))
    assert letters(task.streams["train"]) == ["ACGTACGTTTNNNNA"]


def test_reverse_complement():
    forward = np.array([0, 0, 1, 4, 3], dtype=np.uint8)  # AACNT
    assert letters([reverse_complement(forward)]) == ["ANGTT"]


def test_other_strand_is_read_in_training_only(rows, tmp_path: Path):
    file = fasta(tmp_path, ">r\n" + "A" * 200)
    both = DNA(seed=0, seqlen=8, path=file)
    windows = rows(both, "train", 0, 400).inputs
    assert {"".join(ALPHABET[t] for t in row) for row in windows} == {"A" * 8, "T" * 8}
    assert 0.4 < (windows[:, 0] == 3).mean() < 0.6
    assert (rows(both, "validation", 0, 64).inputs == 0).all()
    forward = DNA(seed=0, seqlen=8, path=file, reverse_complement=False)
    assert (rows(forward, "train", 0, 64).inputs == 0).all()


def test_gzipped_files_and_folders(tmp_path: Path):
    fasta(tmp_path, ">r\n" + "AC" * 50, "one.fasta")
    with gzip.open(tmp_path / "two.FA.gz", "wt") as handle:
        handle.write(">s\n" + "GT" * 50)
    assert len(DNA(seed=0, seqlen=4, path=tmp_path).streams["train"]) == 2


def test_render_writes_fasta(tmp_path: Path, samples):
    prompt = samples.prompt()
    samples.codec.write(prompt, tmp_path / "sample.fasta")
    record = SeqIO.read(tmp_path / "sample.fasta", "fasta")
    assert str(record.seq) == samples.codec.decode(prompt)
    assert len(prompt) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with '>'"),
        ("ACGT\n", "does not begin with '>'"),
        (">only a name\n", "has no bases in it"),
        (">unknown\nNNNN\n", "has no bases in it"),
        (">protein\nMEDL\n", r"Record 'protein' .* is not DNA: it has the letter 'E' at 2"),
        (">short\nACG\n", "too short"),
        (">letters\nACGÜ\n", r"Record 'letters' .* is not DNA"),
        (">other letters\nACG\u4e2d\n", "is not DNA"),
    ],
)
def test_bad_fasta_is_one_sentence(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        DNA(seed=0, seqlen=2, path=fasta(tmp_path, text)).describe()


def test_broken_gzip_is_one_sentence(tmp_path: Path):
    whole = gzip.compress(b">r\n" + b"ACGT" * 100)
    (tmp_path / "cut.fa.gz").write_bytes(whole[:-20])
    with pytest.raises(UserError, match="cannot be read as FASTA"):
        DNA(seed=0, path=tmp_path / "cut.fa.gz").describe()


def test_sequence_longer_than_the_data_is_refused():
    with pytest.raises(UserError, match=r"seqlen=20000 is too long.* 13255 bases; choose at most 13254"):
        DNA(seed=0, seqlen=20000).describe()


def test_runs_of_unknown_bases_are_never_a_whole_window(tmp_path: Path, rows):
    """As assemblies have them: at the ends of a chromosome, and within."""
    known = "ACGGTCATTGCA" * 40
    record = "N" * 300 + known + "N" * 400 + known + "N" * 60
    task = DNA(seed=0, seqlen=16, path=fasta(tmp_path, f">chromosome\n{record}\n"))
    (test,) = task.eval_sets("test")
    for split, count in (("train", 200), ("test", test.rows)):
        assert (rows(task, split, 0, count).targets != IGNORE).any(axis=1).all()
    assert (task.prompt() != 4).any()
    first, *_ = task.baselines(test)
    assert np.isfinite(first.value)

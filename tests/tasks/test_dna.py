import gzip
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.dna import DNA
from seqsuite.tasks.sources import genomes, maf
from seqsuite.tasks.sources import samples as package_samples
from seqsuite.tasks.sources.fasta import ALPHABET, GAP, load_samples, reverse_complement


@pytest.fixture(scope="module")
def samples() -> DNA:
    return DNA(seed=0, sample="packages")


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


def test_the_strand_has_nothing_to_do_with_the_place(tmp_path: Path, rows):
    halves = DNA(seed=0, seqlen=8, path=fasta(tmp_path, ">r\n" + "A" * 1600 + "C" * 2400))
    first = rows(halves, "train", 0, 800).inputs[:, 0]  # of A and C equally much is training data
    for letter, opposite in ((0, 3), (1, 2)):
        forward, backward = (first == letter).sum(), (first == opposite).sum()
        assert 0.4 < forward / (forward + backward) < 0.6


def test_files_of_ones_own_need_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(package_samples.SAMPLE_DISTRIBUTIONS, "dna", ("no-such-samples",))
    monkeypatch.setattr(maf, "EXAMPLE", tmp_path / "none")
    DNA(seed=0, seqlen=8, path=fasta(tmp_path, ">r\n" + "A" * 200))
    with pytest.raises(UserError, match="no-such-samples"):
        DNA(seed=0)


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
        DNA(seed=0, seqlen=20000, sample="packages").describe()


def test_runs_of_unknown_bases_are_never_a_whole_window(tmp_path: Path, rows):
    """As assemblies have them: at the ends of a chromosome, and within."""
    known = "ACGGTCATTGCA" * 40
    record = "N" * 300 + known + "N" * 400 + known + "N" * 60
    task = DNA(seed=0, seqlen=16, path=fasta(tmp_path, f">chromosome\n{record}\n"))
    test, _ = task.eval_sets("test")
    for split, count in (("train", 200), ("test", test.rows)):
        assert (rows(task, split, 0, count).targets != IGNORE).any(axis=1).all()
    assert (task.prompt() != 4).any()
    first, *_ = task.baselines(test)
    assert np.isfinite(first.value)


def test_the_other_strand_is_an_evaluation_set(rows, samples):
    forward, other = samples.eval_sets("test")
    assert other.name == "reverse_complement"
    there, back = samples.eval_batch(forward, range(9)), samples.eval_batch(other, range(9))
    np.testing.assert_array_equal(back.inputs[0, 1:], 3 - there.inputs[0, :0:-1])
    assert there.counted() == pytest.approx(back.counted(), abs=9)


def test_windows_grow_with_the_row(tmp_path: Path):
    task = DNA(
        seed=0, seqlen=64, path=fasta(tmp_path, ">r\n" + "ACGT" * 500), length_warmup=8, warmup_from=16
    )
    widths = [task.train_batch(range(start, start + 8)).inputs.shape for start in (0, 8, 16, 24, 800)]
    assert widths == [(8, 16), (8, 32), (8, 64), (8, 64), (8, 64)]
    assert (task.train_batch(range(4, 12)).targets != IGNORE).sum(axis=1).tolist() == [16] * 4 + [32] * 4


def test_intervals_decide_the_splits_and_are_widened_within_them(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = "".join("ACGT"[number % 4] for number in np.random.default_rng(0).integers(0, 4, 4000))
    (tmp_path / "g").mkdir()
    file = fasta(tmp_path / "g", f">chr1 assembly\n{places.lower()}\n")
    bed = tmp_path / "a.bed"
    bed.write_text("chr1\t0\t1000\ttrain\nchr1\t1000\t1200\tvalid\nchr1\t1400\t1600\ttest\n")
    short = DNA(seed=0, seqlen=16, path=file, intervals=bed, sample="packages")
    assert letters(short.streams["train"]) == [places[:1000]]
    assert letters(short.streams["validation"]) == [places[1000:1200]]
    bed.write_text("chr1\t0\t200\ttrain\nchr1\t900\t1000\tvalid\nchr1\t1600\t1700\ttest\n")
    wide = DNA(seed=0, seqlen=399, path=file, intervals=bed)
    spans = sorted(
        (places.index(text), places.index(text) + len(text), split)
        for split, parts in wide.streams.items()
        for text in letters(parts)
    )
    assert [end - start for start, end, _ in spans] == [400, 400, 400]
    assert [split for *_, split in spans] == ["train", "validation", "test"]
    assert spans[0][1] <= spans[1][0]
    assert spans[1][1] <= spans[2][0]
    bed.write_text("chr2\t0\t1000\ttrain\n")
    with pytest.raises(UserError, match="name 'chr2', which the genome does not have"):
        DNA(seed=0, seqlen=16, path=file, intervals=bed).train_batch(range(1))


def test_a_large_genome_is_memory_mapped_and_gives_the_same_rows(tmp_path: Path, monkeypatch, rows):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = "".join("ACGT"[number] for number in np.random.default_rng(0).integers(0, 4, 3000))
    file = fasta(tmp_path, f">1\n{'N' * 700}{text}\n>2\n{text[::-1]}\n")
    small = DNA(seed=0, seqlen=16, path=file)
    monkeypatch.setattr(genomes, "LARGE", 100)
    large = DNA(seed=0, seqlen=16, path=file)
    assert large.fingerprint() == small.fingerprint()
    np.testing.assert_array_equal(rows(small, "train", 0, 9).inputs, rows(large, "train", 0, 9).inputs)
    assert not large.streams["train"][0].flags.writeable


def test_which_default_data_was_read_is_said(samples):
    assert samples.describe().startswith("the sample (mitochondrial DNA and BRCA1 of 55 mammals)")
    if maf.example_alignment() is None:
        with pytest.raises(UserError, match="apt install maffilter-examples"):
            DNA(seed=0, sample="alignment")

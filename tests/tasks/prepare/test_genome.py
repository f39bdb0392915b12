import gzip
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import genome
from seqsuite.tasks.prepare.genome import open_genome
from seqsuite.tasks.sources.fasta import encode, read_fasta


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fasta(folder: Path, name: str = "g.fa", pack: bool = False) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for record, length in [("chr1 first", 3_000_001), ("chr2", 70), ("chrEmpty", 0)]:
        sequence = rng.choice(list("ACGTacgtN"), size=length)
        lines += [f">{record}", *("".join(sequence[i : i + 60]) for i in range(0, length, 60))]
    content = ("\n".join(lines) + "\n").encode()
    (folder / name).write_bytes(gzip.compress(content, 1) if pack else content)
    return folder / name


@pytest.mark.parametrize("pack", [False, True])
def test_ranges_are_those_of_the_records(tmp_path: Path, pack: bool) -> None:
    file = fasta(tmp_path, pack=pack)
    records, opened = read_fasta(file), open_genome(file)
    assert opened.lengths == {"chr1": 3_000_001, "chr2": 70, "chrEmpty": 0}
    np.testing.assert_array_equal(opened.record("chr1"), records[0])
    for start, end in [(0, 10), (2_999_990, 3_000_001), (1_000_000, 1_131_072)]:
        np.testing.assert_array_equal(opened.read("chr1", start, end), records[0][start:end])
    np.testing.assert_array_equal(opened.read("chr2", 68, 72)[2:], encode("NN", "here"))
    np.testing.assert_array_equal(opened.read("chr2", -2, 1)[:2], encode("NN", "here"))
    assert isinstance(opened.record("chr1"), np.memmap)
    with pytest.raises(UserError, match="no record 'chr3'"):
        opened.read("chr3", 0, 1)


def test_it_is_encoded_once_and_again_when_the_file_changes(tmp_path: Path, caplog) -> None:
    file = fasta(tmp_path)
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(2) as pool:
        first, second = pool.map(open_genome, [file, file])
    assert first.records.fingerprint == second.records.fingerprint
    assert caplog.text.count("Encoding") == 1
    file.write_text(">other\nACGT\n")
    assert open_genome(file).lengths == {"other": 4}


def test_an_interrupted_encoding_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    file = fasta(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(genome.TokenWriter, "end_stream", interrupt)
        with pytest.raises(KeyboardInterrupt):
            open_genome(file)
    assert not [path for path in cache.rglob("*") if path.is_dir() and path.name.startswith("g.fa")]
    assert len(open_genome(file).lengths) == 3


def test_bad_genomes_are_one_sentence(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "twice.fa").write_text(">a 1\nAC\n>a 2\nGT\n")
    with pytest.raises(UserError, match="Two records of the genome have the name 'a'"):
        open_genome(tmp_path / "twice.fa")
    (tmp_path / "not.fa").write_text("hello")
    with pytest.raises(UserError, match="not FASTA"):
        open_genome(tmp_path / "not.fa")
    with pytest.raises(UserError, match="cannot be read"):
        open_genome(tmp_path / "missing.fa")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        open_genome(fasta(tmp_path))


def test_what_lies_outside_a_record_is_n(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">a first\nACGT\n>b\nGG\n")
    opened = open_genome(tmp_path / "a.fa")
    assert opened.lengths == {"a": 4, "b": 2}
    shown = {
        place: "".join("ACGTN"[base] for base in opened.read("a", *place))
        for place in ((0, 4), (-2, 1), (-3, 0), (3, 6), (4, 6), (-1, 5), (1, 3), (2, 2))
    }
    assert list(shown.values()) == ["ACGT", "NNA", "NNN", "TNN", "NN", "NACGTN", "CG", ""]
    with pytest.raises(UserError, match=r"has no record 'c'; it has 'a', 'b'\."):
        opened.record("c")


def test_of_many_records_five_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text("".join(f">r{number}\nA\n" for number in range(7)))
    with pytest.raises(UserError, match=r"it has 'r0', 'r1', 'r2' and 4 more"):
        open_genome(tmp_path / "a.fa").record("c")

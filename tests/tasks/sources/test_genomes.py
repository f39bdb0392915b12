"""Which genomes are held in memory, and which are mapped from disk."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources import genomes


@pytest.mark.parametrize(("packed", "taken_for"), [(False, 1), (True, 4)])
def test_a_file_is_read_into_memory_up_to_a_size_which_a_compressed_one_has_four_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, taken_for: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    content = b">chr1\n" + b"ACGTTGCA" * 64 + b"\n"
    file = tmp_path / ("genome.fa.gz" if packed else "genome.fa")
    file.write_bytes(gzip.compress(content) if packed else content)
    for allowed, mapped in ((0, False), (-1, True)):
        monkeypatch.setattr(genomes, "LARGE", file.stat().st_size * taken_for + allowed)
        (record,) = genomes.records_of(file)
        assert isinstance(record.base, np.memmap) == mapped
        assert len(record) == 512


def test_bounds_are_powers_of_two() -> None:
    assert genomes.LARGE == 2**25


def test_gaps_are_left_out_wherever_they_are() -> None:
    long = np.zeros(2**22 + 2, dtype=np.uint8)
    assert genomes.without_gaps(long) is long
    for place in (0, 2**22 - 1, 2**22, 2**22 + 1):
        long[place] = 5
        assert len(genomes.without_gaps(long)) == 2**22 + 1
        long[place] = 0


def test_intervals_are_streams_or_are_widened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.fa").write_text(">a\nACGTACGT-A\n")
    (tmp_path / "a.bed").write_text("a\t2\t4\ttrain\na\t8\t10\ttest\n")

    def streams(length: int) -> dict[str, list[list[int]]]:
        found = genomes.interval_streams([tmp_path / "a.fa"], tmp_path / "a.bed", length)
        return {split: [stream.tolist() for stream in several] for split, several in found.items()}

    assert streams(2) == {"train": [[2, 3]], "validation": [], "test": [[0]]}
    assert streams(3) == {"train": [[1, 2, 3]], "validation": [], "test": [[3, 0]]}
    with pytest.raises(UserError, match="No interval has room for 7 bases"):
        streams(7)
    (tmp_path / "a.bed").write_text("a\t2\t10\ttrain\n")
    assert streams(8)["train"] == [[2, 3, 0, 1, 2, 3, 0]]
    for line, said in (
        ("a\t2\t11\ttrain", "a:2-11 ends behind"),
        ("b\t0\t9\ttrain", "'b', which the genome"),
    ):
        (tmp_path / "a.bed").write_text(line + "\n")
        with pytest.raises(UserError, match=said):
            streams(5)
